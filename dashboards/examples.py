"""The gallery: examples that are one click from a working picture."""

from dashboards.compare_examples import COMPARED
from dashboards.example import REAL, Example

EXAMPLES = (
    Example(
        "Attention",
        "Induction on random tokens",
        "50 random tokens, repeated. Which heads look at what came after the same token before? "
        "L18H6, then L17H3, L17H4 and L17H5.",
        {"model": REAL, "input": "random tokens", "seed": "2", "score": "induction"},
        {"head": "L18H6"},
    ),
    Example(
        "Attention",
        "Who got the drink? (IOI)",
        "Mary and John, and John gives: L23H3 looks from the end at the name said twice.",
        {
            "model": REAL,
            "prompt": "When Mary and John went to the store, John gave a drink to",
            "score": "previous token",
        },
        {"head": "L23H3"},
    ),
    Example(
        "Lens",
        "A capital, layer by layer",
        "“Paris” is nowhere for 25 layers, then first in the last one.",
        {"model": REAL, "prompt": "The capital of France is"},
    ),
    Example(
        "Lens",
        "Subject and verb, an attractor between",
        "“keys … cabinet”: does the verb agree with the right noun, and from which layer on?",
        {"model": REAL, "prompt": "The keys to the old wooden cabinet", "follow": " are"},
    ),
    Example(
        "Lens",
        "Where the model fails",
        "Adding two-digit numbers: the right digit never gets to the top. "
        "The lens shows a guess, not a sum.",
        {"model": REAL, "prompt": "Q: What is 34 + 58? A: 34 + 58 = ", "follow": "9"},
    ),
    Example(
        "Attribution",
        "Who writes “Mary”? (IOI)",
        "The logit of “ Mary” less that of “ John” as a sum. L23H3 has the largest share: it looks "
        "at the second “ John” and lowers that name.",
        {
            "model": REAL,
            "prompt": "When Mary and John went to the store, John gave a drink to",
            "answer": " Mary",
            "wrong": " John",
        },
        {"part": "L23H3"},
    ),
    Example(
        "Attribution",
        "Who writes “Paris”?",
        "Mostly the last two MLPs, and L23H4, which brings its share from “ France”.",
        {"model": REAL, "prompt": "The capital of France is", "answer": " Paris", "wrong": " the"},
        {"part": "L23H4"},
    ),
    Example(
        "Patching",
        "Where does the country go?",
        "Capitals, clean into corrupted: the country's token carries the answer up to layer 23, "
        "the last token from layer 24 on.",
        {"model": REAL, "task": "capitals", "site": "resid_pre"},
        {"cell": "L23.5"},
    ),
    Example(
        "Patching",
        "Which heads bring the capital?",
        "Every head patched by itself: L23H4 alone brings back more than half of the answer.",
        {"model": REAL, "task": "capitals", "site": "z"},
        {"cell": "L23.H4"},
    ),
    Example(
        "Patching",
        "Two names, one of them twice (IOI)",
        "The prompts differ in the second mention of a name: from which layer on does the last "
        "token know?",
        {"model": REAL, "task": "ioi", "site": "resid_pre"},
        {"cell": "L20.end"},
    ),
    Example(
        "Patching",
        "One pair of your own: France and Italy",
        "Two prompts, token by token; one pair has no interval.",
        {
            "model": REAL,
            "pairs": "two prompts of your own",
            "clean": "The capital of France is",
            "corrupted": "The capital of Italy is",
            "answer": " Paris",
            "wrong": " Rome",
        },
    ),
    Example(
        "Circuit",
        "Which edges bring the capital?",
        "200 of the edges between heads and MLPs, found on half of the pairs and judged on the "
        "others, against random circuits of the same size.",
        {"model": REAL, "task": "capitals", "edges": "200"},
    ),
    Example(
        "Circuit",
        "A circuit written by hand",
        "Five edges make the induction heads of this model. Where the pattern is found at another "
        "place, EAP sees none of what finds it; EAP-IG does.",
        {"model": "induction-by-hand", "task": "induction", "corruption": "moved", "edges": "5"},
    ),
    Example(
        "Circuit",
        "One pair on a copier by hand",
        "Two edges of 17 copy the first letter, and both are found.",
        {
            "model": "copier-by-hand",
            "pairs": "two prompts of your own",
            "clean": "b q c d",
            "corrupted": "k q c d",
            "answer": "b",
            "wrong": "k",
            "edges": "2",
        },
    ),
    Example(
        "Circuit",
        "One pair on a counter by hand",
        "Three edges of 110: a head adds up, an MLP compares.",
        {
            "model": "counter-by-hand",
            "pairs": "two prompts of your own",
            "clean": "a b a d e g h a j k l",
            "corrupted": "a b c d e g h i j k l",
            "answer": "m",
            "wrong": "f",
            "edges": "3",
        },
    ),
    Example(
        "Steering",
        "From good news to bad",
        "Happy less sad, added backwards: the letter that brought a mix of emotions makes its "
        "reader a victim. Strength 2 gives a fantastic day.",
        {
            "model": REAL,
            "prompt": "When I opened the letter, I felt",
            "towards": "This is happy, joyful and wonderful news",
            "away": "This is sad, terrible and painful news",
            "read": "all positions",
            "layer": "10",
            "strength": "-2",
        },
    ),
    Example(
        "Steering",
        "A pet for a cup of coffee",
        "A sentence about a dog less one about a car: the favourite thing in the world is no "
        "longer coffee but a cat, and then a dog.",
        {
            "model": REAL,
            "prompt": "My favourite thing in the world is",
            "towards": "She talks about her dog, a puppy that barks",
            "away": "She talks about her car, an engine that roars",
            "read": "all positions",
            "layer": "12",
            "strength": "2",
        },
    ),
    Example(
        "Steering",
        "Too far",
        "Ships and the sea at strength 3: the text falls apart into one word. "
        "At 1.5 it still goes to the sea.",
        {
            "model": REAL,
            "prompt": "Yesterday I went to",
            "towards": " the ocean, the sea, ships and sailors",
            "away": " the office, meetings and emails",
            "read": "all positions",
            "layer": "12",
            "strength": "3",
        },
    ),
    Example(
        "Othello",
        "Othello opening",
        "This model saw nothing but moves. Does it hold the board? A linear probe reads each "
        "square; a click on a disc flips it inside the model, and other moves become legal.",
        {"model": "othello-6x6", "seed": "1"},
        {"move": "8"},
    ),
    Example(
        "Probes",
        "Where is a word a noun or a verb?",
        "64 sentences, each word with its class. The word by itself tells 0.84 of them, the "
        "middle layers 0.98: “watch” is a verb in one place and a noun in the other.",
        {
            "model": REAL,
            "labels": "word-classes",
            "kind": "ridge",
            "text": "They watch the old watch stop while others stop the work and work",
        },
        {"site": "11.resid_post"},
    ),
    Example(
        "Probes",
        "The board in a model that saw only moves",
        "Each square mine, theirs or empty, by layer, beside the same probe on random weights.",
        {"model": "othello-6x6", "labels": "othello-mine", "among": "mine,theirs"},
    ),
    Example(
        "Attention",
        "An induction circuit by hand",
        "Two layers with integer weights: L0H1 looks back by one, L1H2 completes the pattern.",
        {"model": "induction-by-hand", "prompt": "a b c d e a b c d", "score": "induction"},
        {"head": "L1H2"},
    ),
    Example(
        "SAE",
        "What is active at “sea”?",
        "The latents of a dictionary of layer 12 that are active in a sentence, with a rule for "
        "each and its score on held-out text. Ablate one, or add to it.",
        {
            "model": REAL,
            "by": "a prompt",
            "prompt": "The committee met two years ago, and the president said that the sea",
        },
        {"token": "14"},
    ),
    *COMPARED,
    Example(
        "Superposition",
        "Five features in two dimensions",
        "Dense features get a dimension each, two in all; the rarer they are, the more share: a "
        "pair back to back, then a pentagon.",
        {},
    ),
    Example(
        "Grokking",
        "It can add before the test tells",
        "Addition modulo 113 at epoch 450: most answers are still wrong, yet four waves already "
        "hold most of the logits.",
        {"part": "Scrub through"},
        {"epoch": "450"},
    ),
    Example(
        "Induction",
        "In the middle of the phase change",
        "Two layers of attention at step 320: the previous-token head and the induction heads "
        "that read it appear together. Move the slider.",
        {},
        {"step": "320"},
    ),
    Example(
        "Neurons",
        "SoLU beside GELU",
        "Two one-layer models of the same text: whose neurons can be named more often?",
        {"model": "solu-1l", "part": "Two models"},
    ),
)


def examples(page: str) -> list[Example]:
    """The examples of one page."""
    return [example for example in EXAMPLES if example.page == page]
