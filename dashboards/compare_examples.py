"""Examples of the page Compare."""

from dashboards.example import REAL, Example

COMPARED = (
    Example(
        "Compare",
        "Induction appears",
        "The same random tokens, twice over, at two checkpoints of one training: after 200 steps "
        "no head looks at what came after the same token before, after 800 steps three do.",
        {
            "on": "Attention",
            "model": "induction-2l@200",
            "model_b": "induction-2l@800",
            "input": "random tokens",
            "length": "12",
        },
        {"head": "L1H0"},
    ),
    Example(
        "Compare",
        "France and Italy, layer by layer",
        "How likely “ Paris” is after each token of two prompts that differ in the country.",
        {
            "on": "Lens",
            "model": REAL,
            "prompt": "The capital of France is",
            "prompt_b": "The capital of Italy is",
            "follow": " Paris",
        },
    ),
    Example(
        "Compare",
        "The bank of a river, the bank with the money",
        "One word in two senses: the latents of a dictionary of layer 12 that part the prompts.",
        {
            "on": "SAE",
            "model": REAL,
            "prompt": "They sat down on the bank of the river",
            "prompt_b": "They put the money in the bank",
        },
    ),
)
