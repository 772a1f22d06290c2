"""The closed lexicon of MiniLab: everyday words that all its instances are made of.

The tables are ordered and part of what a seed stands for: adding, removing or moving a word
changes instances, so it is a new version of MiniLab. No word is in two tables, and no word is one
that states a task ("first", "word", "list", "yes", ...).
"""


def _words(table: str) -> tuple[str, ...]:
    return tuple(table.split())


# Kinds of thing that tasks ask for.
ANIMALS = _words(
    """
    horse mouse bird fish lion tiger zebra camel donkey goat sheep duck goose chicken rabbit
    squirrel monkey elephant giraffe dolphin penguin turtle spider beetle butterfly ant owl fox
    cow pig bee
    """
)
FOODS = _words(
    """
    apple bread cherry lemon melon banana grape peach plum carrot potato tomato onion pepper
    garlic mushroom butter cheese honey sugar salt rice soup pie cake cookie biscuit chocolate
    sandwich egg
    """
)
JOBS = _words(
    """
    sailor farmer doctor teacher painter singer dancer soldier captain pilot baker butcher tailor
    hunter driver
    """
)
CLOTHES = _words("jacket sweater trousers collar hat dress shirt coat boots socks apron vest")

# Words with no part to play but to be edited, found, counted or classified.
OTHERS = _words(
    """
    river chair stone cloud table light house water paper music field
    glass snow tree door road bridge window garden winter summer spring autumn
    morning evening silver golden copper orchard meadow forest island
    mountain valley desert ocean harbor village market castle tower church school office
    kettle basket bottle blanket pillow mirror candle lantern ladder hammer needle thread button
    pocket ribbon saddle wagon engine rocket tractor bicycle airplane
    quiet loud gentle brave clever lazy happy hungry sleepy dusty shiny broken empty heavy
    narrow wooden frozen hidden sudden simple strange distant ancient modern careful cheerful
    run walk jump swim climb carry build paint dance whistle listen wander travel gather
    call sing sit sew dig sail ice ink oil pen map elm oak
    sun sky sea hill lake pond sand wind rain fog leaf root seed rose lily moss iron gold wool
    silk clay brick marble diamond crystal feather thunder rainbow shadow whisper journey
    holiday birthday picture sculpture calendar umbrella telescope newspaper backpack necklace
    """
)

# All words that lines are made of.
WORDS = (*ANIMALS, *FOODS, *JOBS, *CLOTHES, *OTHERS)

# People who own things.
NAMES = _words(
    """
    Anna Ben Clara David Emma Felix Grace Henry Iris Jack Karen Leo Maria Nina Oscar Paula
    Quinn Rosa Sam Tina Victor Wendy Yusuf Zoe
    """
)

# Things that can be owned or put somewhere.
OBJECTS = _words(
    """
    ball cup box book bag key coin drum kite lamp ring shoe spoon fork knife plate bowl brush
    clock phone radio toy doll puzzle pencil ruler notebook guitar flute violin scarf glove
    belt watch wallet rope tent torch bucket shovel
    """
)

COLOURS = _words("red blue black white pink brown gray violet yellow purple orange green")

# Where things are.
PLACES = _words(
    """
    kitchen bedroom bathroom attic cellar garage hallway library museum station airport hospital
    bakery park barn shed theater hotel
    """
)

# Words of no language, which a dictionary in the instance gives a meaning.
FOREIGN = _words(
    """
    zor mip tavi luno pesk drell goma vink saru bliff nado kree wuzz jelo fimba quor hask ploo
    yeni torb zeffa mulk rindo chav opla gresk dunu swiv kalt bemmo
    """
)
