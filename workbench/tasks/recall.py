"""Facts a model recalls: the capital, or the official language, of a country.

The relations are among those of Hernandez et al. 2023, arXiv 2308.09124. Countries of several
capitals or official languages are left out, as are those whose answer a reader may dispute.
"""

from collections.abc import Mapping
from random import Random

from workbench.models import Model
from workbench.tasks.drawing import drawn
from workbench.tasks.pairs import Pairs
from workbench.tasks.words import ids_of, single
from workbench.tasks.writing import contrast


def _table(text: str) -> dict[str, str]:
    rows = (row.split(":") for row in text.replace("\n", ",").split(","))
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


CAPITALS = _table("""
France:Paris, Germany:Berlin, Italy:Rome, Spain:Madrid, Portugal:Lisbon, Greece:Athens
Austria:Vienna, Russia:Moscow, Poland:Warsaw, Hungary:Budapest, Ireland:Dublin, Norway:Oslo
Sweden:Stockholm, Finland:Helsinki, Denmark:Copenhagen, Belgium:Brussels, Switzerland:Bern
Turkey:Ankara, Egypt:Cairo, Iran:Tehran, Iraq:Baghdad, Syria:Damascus, Lebanon:Beirut
Japan:Tokyo, China:Beijing, Thailand:Bangkok, Vietnam:Hanoi, the Philippines:Manila
Australia:Canberra, Canada:Ottawa, Cuba:Havana, Peru:Lima, Colombia:Bogotá, Venezuela:Caracas
Chile:Santiago, Uruguay:Montevideo, Ecuador:Quito, Jamaica:Kingston, Kenya:Nairobi
Nigeria:Abuja, Ghana:Accra, Uganda:Kampala, Senegal:Dakar, Morocco:Rabat, Algeria:Algiers
Tunisia:Tunis, Libya:Tripoli, Sudan:Khartoum, Somalia:Mogadishu, Zimbabwe:Harare
Zambia:Lusaka, Rwanda:Kigali, Angola:Luanda, Afghanistan:Kabul, Pakistan:Islamabad
Nepal:Kathmandu, Bangladesh:Dhaka, Jordan:Amman, Qatar:Doha, Ukraine:Kyiv, Romania:Bucharest
Bulgaria:Sofia, Serbia:Belgrade, Croatia:Zagreb, Albania:Tirana, Estonia:Tallinn, Latvia:Riga
Lithuania:Vilnius, Belarus:Minsk, Iceland:Reykjavik, Armenia:Yerevan
England:London, Scotland:Edinburgh, Wales:Cardiff
""")
LANGUAGES = _table("""
France:French, Germany:German, Austria:German, Italy:Italian, Spain:Spanish, Mexico:Spanish
Argentina:Spanish, Chile:Spanish, Colombia:Spanish, Cuba:Spanish, Venezuela:Spanish
Portugal:Portuguese, Brazil:Portuguese, Angola:Portuguese, Senegal:French, England:English
Australia:English, Jamaica:English, Ghana:English, Russia:Russian, Poland:Polish
Hungary:Hungarian, Greece:Greek, Sweden:Swedish, Norway:Norwegian, Denmark:Danish
Iceland:Icelandic, the Netherlands:Dutch, Turkey:Turkish, Iran:Persian, Egypt:Arabic
Syria:Arabic, Jordan:Arabic, Libya:Arabic, Japan:Japanese, Thailand:Thai, Vietnam:Vietnamese
South Korea:Korean, Romania:Romanian, Bulgaria:Bulgarian, Ukraine:Ukrainian, Croatia:Croatian
Albania:Albanian, Estonia:Estonian, Bangladesh:Bengali, Nepal:Nepali, Indonesia:Indonesian
""")


def capitals(model: Model, n: int, seed: int = 0) -> Pairs:
    """`The capital of France is`, against another country; the wrong token is its capital."""
    return _recalled("capitals", "The capital of {subject} is", CAPITALS, model, n, seed)


def languages(model: Model, n: int, seed: int = 0) -> Pairs:
    """`The official language of France is`, against a country where another one is spoken."""
    template = "The official language of {subject} is"
    return _recalled("languages", template, LANGUAGES, model, n, seed)


def _recalled(
    task: str, template: str, facts: Mapping[str, str], model: Model, n: int, seed: int
) -> Pairs:
    """Pairs of subjects of as many tokens, with answers of one token that differ."""
    answers = {name: ids_of(model, name) for name in single(model, list(facts.values()))}
    subjects = [name for name, answer in facts.items() if answer in answers]
    sizes = {name: len(ids_of(model, name)) for name in subjects}
    partners = {
        name: [b for b in subjects if sizes[b] == sizes[name] and facts[b] != facts[name]]
        for name in subjects
        if sizes[name]
    }
    able = [name for name, others in partners.items() if others]
    random = Random(f"{task} corrupted/{seed}")
    rows = []
    for (subject,) in drawn(task, [able], n, seed):
        other = random.choice(partners[subject])
        rows.append(
            contrast(
                model,
                template,
                {"subject": subject},
                {"subject": other},
                answers=answers[facts[subject]],
                wrongs=answers[facts[other]],
                places=("subject",),
            )
        )
    return Pairs(task, tuple(rows))
