#!/bin/bash
# Installs this checkout with the versions it was tested with: `bash launch/install.sh tpu`, or gpu,
# with more extras after commas.
# Run it on every worker; what is installed already stays.
set -euo pipefail
extra="${1:?tpu or gpu}"
cd "$(dirname "$0")/.."

python="$(command -v python3.11 || true)"
if [ -z "$python" ] || ! "$python" -c 'import ensurepip' 2>/dev/null; then
  # Images of TPU VMs have an older one.
  sudo apt-get update -qq
  sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3.11 python3.11-venv
  python="$(command -v python3.11)"
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
pins=(-c constraints.txt)
case "$extra" in
  tpu*) pins+=(-c launch/constraints-tpu.txt) ;;
esac
.venv/bin/python -m pip install --quiet --disable-pip-version-check "${pins[@]}" -e ".[$extra]"
.venv/bin/flan-jax --version
