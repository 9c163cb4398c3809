"""The words captions use for land cover, amount, absence, place and doubt, as patterns.

Every pattern matches whole words: *season* is not a sea and *streets* hold no tree. What only sounds
like land cover (*forest green*, *field work*, *a crop of the image*) stands in ``TRAPS``, which win
over the words inside them.
"""

from __future__ import annotations

import re

from groundsynth.captions.shares import ALL, LADDER, VAGUE

_GROUND = (
    r"(?:scene|image|imagery|chip|tile|area|view|frame|picture|photo(?:graph)?|patch|ground|landscape|land|map"
    r"|region|surface|screen|shot)"
)
#: words per class, in the order of the legend
CLASS_WORDS: tuple[str, ...] = (
    r"tree(?:s|tops?| cover| canopy)?|(?:rain)?forest(?:s|ed|ry)?|wood(?:s|land|lands|ed|lots?)?|timber|canopy"
    r"|jungles?|groves?|copses?|conifer(?:s|ous trees)?|deciduous trees|pines?|oaks?|evergreens?",
    r"shrub(?:s|land|lands|by|bery)?|scrub(?:s|land|lands|by)?|bush(?:es|land|lands|y)?|brush(?:land|wood)?"
    r"|heath(?:s|land|er)?|thickets?|chaparral|maquis",
    r"grass(?:es|y|land|lands)?(?!roots)|meadow(?:s|land|lands)?|pasture(?:s|land|lands)?|grazing land"
    r"|herbaceous(?: cover| vegetation)?|prairies?|lawns?|steppe|savannahs?|savannas?|golf courses?|turf",
    r"crop(?:s|land|lands)?|cultivated(?: land| fields?)?|cultivation|(?:agricultur(?:e|al)|arable)(?: (?:land|fields?))?"
    r"|farm(?:s|land|lands|ing)?(?: fields?)?|fields?|plough(?:ed|land)(?: fields?)?|plowed|tilled"
    r"|(?:bare|fallow|empty) fields?|(?:rice )?(?:paddy|paddies)|wheat|maize|corn|soy(?:beans?)?|barley",
    r"built[- ]?up(?: land| areas?)?|developed(?! (?:by|canopy|vegetation|with|from|in))(?: land| areas?)?"
    r"|(?:sub)?urban(?:i[sz]ed)?(?: land| areas?| development)?|suburbs?|suburbia|city|cities|towns?|villages?|hamlets?"
    r"|residential|buildings?|houses?|housing|homes|dwellings|roads?|streets?|highways?|motorways?|freeways?"
    r"|settlements?|industr(?:ial|y)|factory|factories|warehouses?|infrastructure|rooftops?|roofs?|pavement|asphalt"
    r"|parking lots?|car parks?|airports?|runways?|railways?|railroads?|bridges?|harbours?|harbors?|ports?|docks?"
    r"|farm(?:house|stead|yard)s?|farm buildings?|barns?|sheds?|greenhouses?|structures|townhouses?|hotels?|schools?|churches"
    r"|apartment blocks?",
    r"bare(?: ground| soil| land| earth| rock| areas?| sand)?|barren(?: land| ground| soil)?"
    r"|exposed (?:soil|earth|rock|ground)|sand(?:s|y)?|deserts?|dunes?|gravel(?: pits?)?|sediments?|soils?|rocks?"
    r"|rocky|mud|beach(?:es)?|quarry|quarries|mines|mudflats?|sandbanks?|sandbars?",
    r"(?:open )?water(?:s|way|ways|course|courses|bod(?:y|ies)| bod(?:y|ies)| surfaces?)?|(?:bod(?:y|ies) of )water"
    r"|lakes?|rivers?|streams?|ponds?|reservoirs?|seas?|oceans?|creeks?|brooks?|canals?|lagoons?|estuar(?:y|ies)"
    r"|(?:river|lake)(?:bank|shore|front)s?|shore(?:s|line|lines)?|coast(?:s|line|lines)?|rivulets?",
)  # fmt: skip
#: words with several readings, counted as one class
AMBIGUOUS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((0, 1, 2, 3), r"(?:green )?vegetation(?: cover)?|greenery|vegetated|green spaces?|plant cover|plants"),
    ((0, 1, 2), r"natural vegetation|wilderness|gardens?"),
    ((0, 2), r"park(?:s|land|lands)?|savanna woodland|green belt"),
    ((0, 1), r"hedge(?:s|rows?)?|woody vegetation|undergrowth"),
    ((0, 3), r"orchards?|plantations?"),
    ((1, 2), r"range(?:land|lands)|moor(?:s|land|lands)"),
    ((1, 3), r"vineyards?"),
)
#: things a caption may name that the legend cannot check
OFF_LEGEND = (
    r"clouds?|cloudy|haze|hazy|shadows?|snow|snowy|ice|glaciers?|(?:herbaceous )?wetlands?"
    r"|marsh(?:es)?|swamps?|mangroves?|moss|lichens?|cars?|vehicles?|ships?|boats?|aircraft|airplanes?|people"
)
#: one word that says a class is missing
LESS_WORDS = (r"treeless|unforested|unwooded", "", r"grassless", "", r"unbuilt|undeveloped", "", r"waterless")

_COLOUR = r"(?:green|blue|brown|grey|gray|red|yellow|white|black|tan|beige|golden|olive|emerald)"
_SUBJECT = (
    r"(?:forest(?:ry)?|agricultur(?:e|al)|farm(?:ing)?|crop|urban|city|town|village|housing|water|road|street|rail(?:way|road)?"
    r"|river|sea|ocean|soil|land|industr(?:y|ial)|building|infrastructure|vegetation|park|school|port|airport|field|house)"
)
#: what only sounds like a claim
TRAPS = (
    # what is said about a subject, not about the ground
    rf"{_SUBJECT} (?:polic(?:y|ies)|departments?|ministr(?:y|ies)|ministers?|plann(?:ing|ers?)|research(?:ers)?|management"
    r"|statistics|sectors?|markets?|economics|laws?|rights|quality|supply|levels?|temperatures?|commission|agenc(?:y|ies)"
    r"|council|association|board|service|act|insurance|engineers?|authorit(?:y|ies)|prices|experts?|scientists?|yields?"
    r"|rotation|failure|style|rules?|names?|codes?|permits?|colou?rs?|masks?|classes|class labels?)",
    # names of people and addresses
    r"(?:mr|mrs|ms|dr|prof)\.? (?-i:[A-Z]\w+)|(?-i:(?!The |A |An |In |On |At |Some |Many |No |Dense |Open |Two |And |With )"
    r"[A-Z][a-z]+ (?:Fields|Woods|Forest Hills|Waters|Sands|Bush|Oaks|Pines|Brooks|Streets?|Roads?|Lanes?|Houses?|Gardens?"
    r"|Farms?|Rocks?|Barns)(?!\w))",
    # idioms
    r"out of the woods|drop in the ocean|rock and a hard place|greener pastures|(?:beat\w*|beating) around the bush"
    r"|(?:in|hold\w*|tread\w*) (?:hot )?water(?=[.,;!]|$)|sea[- ]changes?|on the rocks|bridg(?:e|es|ing) (?:the|a|this) (?:gap|divide)"
    r"|turf wars?|stick in the mud|on the house|rock[- ](?:bottom|solid|steady|hard|stars?)|roads? to (?:success|ruin|recovery)"
    r"|all roads lead|sheds? (?:\w+ )?light|schools? of (?:fish|thought)|parks? (?:the|his|her|their|a) (?:car|van)"
    r"|(?:power|industrial|treatment|processing|chemical|solar|nuclear) plants?|fields? (?:questions|calls)|farms? out"
    r"|bring\w* (?:it )?home|at home|feels? at home|home town|hits? the road|down the road|test the waters?|level playing fields?"
    r"|from the ground up|tip of the iceberg|forest (?:plot|fire warning)s?|tree (?:structure|diagram|search)s?|data (?:lakes?|streams?)"
    r"|built[- ]in|city slickers?|sands? of time|house rules|field experience",
    # colours and materials
    rf"(?:forest|sea|grass|lake|water|moss|field|sand|city)[- ]{_COLOUR}|(?:sand|water|earth|soil|brick)[- ]colou?red"
    r"|sandy(?=(?: \w+)? colou?rs?)|sandy (?:tones?|hues?|colou?rs?)",
    # figures of speech
    rf"(?:seas?|oceans?|forests?|rivers?|streams?|fields?|floods?|woods|islands?) of(?= (?!{_GROUND}|open|clear|fresh|deep"
    r"|blue|green|brown|dark|wheat|corn|maize|crops?|barley|rice|oak|pine|(?:the |a |an )))|stream of"
    r"|can(?:not|'t)? see the wood for the trees|sea (?:level|of)|house of cards|bush fire|bushfires?",
    # fields, crops, bare, water that are none
    r"(?:magnetic|electric|visual|wide|narrow|large|receptive|playing|sports?|football|gravity)?[ -]?fields? of"
    r"(?: \w+)? ?(?:view|research|study|vision|expertise|work|regard)|(?:magnetic|electric|gravity|playing|sports?|football"
    r"|receptive) fields?|field[- ]?(?:work|stud(?:y|ies)|surveys?|trips?|campaigns?|notes|stones?|data|test(?:s|ed)?)",
    rf"crop(?:s|ped)? (?:of|from) (?:the |an? |this )?(?:\w+ )?{_GROUND}|(?:tight|square|close|random|centre|center) crop"
    r"|crops? (?:up|out|factor|window|size)|image crops?|crop marks",
    r"bare(?:s|d)? (?:trees|minimum|bones|necessit\w+|in mind|hands|feet|eye|no)|water(?:[- ]?colou?rs?|[- ]?marks?"
    r"| towers?| tanks?| treatment| bottle| vapou?r)|(?:river|lake|sea)[- ]?sides?|developed (?:canopy|vegetation)"
    r"|streams? of (?:people|cars|traffic|data|visitors)|grass(?:[- ]?roots?)|rock music|rock bands?|mud map"
    r"|road ?maps?|data ports?|port of|housing (?:market|prices)|houses(?= (?:a|an|the|some|many|several)\b)|builds? up"
    r"|building up|field of view|city (?:lights?|hall)|town hall meeting|(?:main|wall|high) street|street ?view"
    r"|urban legend|corn(?:er)? shop|bushels? of \w+|tree ?lines?|family trees?|decision trees?|random forests?"
    r"|brush ?strokes?|plant(?= (?:a|the|some)\b)|plants? (?:a|the) flag|pine[ds]? for|mines? of information|mine"
    r"|home page|homes in|school of thought|industry (?:standard|report)s?",
    # negations that affirm, or deny nothing here
    r"no shortage of|not without|without (?:a |any )?doubt|no doubt|not only|not just|not far from|no wonder|no matter"
    r"|no longer|not (?:clear|sure|certain|known|yet|recorded) ?(?:whether|if|that)?",
    rf"(?:surrounding|adjoining|neighbou?ring|adjacent) (?:{_GROUND}|terrain|countryside|hills|country|parts|zones?)",
    # names, and verbs that are no crops
    r"(?-i:(?:Forest|Wood|Lake|River|Field|Grass|Water|Rock|Sand|Bush|Oak|Pine)s? (?:Hills?|Heights|Gate|Stadium"
    r"|University|College|Falls|Press|Institute|Avenue|Valley))|waters? down|bush (?:telegraph|league|pilots?)"
    r"|crops?(?= (?:every|the|a|an|it)\b)",
    # not amounts of ground
    r"half a dozen|half[- ](?:timbered|hidden|covered|finished)|quarter[- ](?:finals?|hour|century)",
    # where? not in the picture
    r"middle east(?:ern)?|far east|wild west|old west|top[- ](?:ten|three|five|notch)|on top of|bottom line"
    r"|(?:cross|check|proof)[- ]?read\w*|left (?:over|behind|out|to)|all right|right[- ]angles?(?:d)?",
)  # fmt: skip

DOMINANCE = (
    r"(?:holds?|has|have|takes?|makes? up|forms?) the largest (?:share|part|area|proportion)|"
    r"(?:is|are) (?:by far )?the (?:\w+ly )?(?:dominant|main|predominant|prevailing|primary|largest)(?: land)?"
    r"(?:[- ]cover| class| type| use)*"
    r"|(?:dominant|predominant|prevailing|main|primary|principal|largest)(?: land)?(?:[- ]?cover| class| type| use)+"
    r"|(?:by far )?the most (?:common|extensive|widespread|abundant|prominent|prevalent)(?: land)?"
    r"(?:[- ]?cover| class| type| use)*"
    r"|(?:pre)?dominat(?:ed|es|e|ing)(?: by)?|predominantly|predominant|dominant|(?:mostly|mainly|largely|primarily|chiefly)"
    r"(?! (?:found|located|concentrated|confined|distributed|limited|situated|in|along|at|on|near|around|towards?)\b)"
    r"|prevails?|overwhelmingly"
)
NEGATION = (
    rf"none of (?:it|(?:the |this ){_GROUND})(?: is| are)?(?: covered (?:by|with)| under| taken up by)?|"
    r"no(?! (?:more|less|fewer) than)|zero|without(?: any)?|lack(?:s|ing)?(?: of)?|free (?:of|from)"
    r"|(?:de)?void of|absence of|(?:cleared|stripped|bereft|empty|clear|bare) of|neither|nor|none of|never|nowhere|not|nothing(?: of)?|once (?:there )?(?:was|were|stood|grew)|formerly|former|used to be|cannot|\w+n[’']t|(?:do|does|is|are|ca|was)nt"
)
#: words after a negation that leave the smaller ones possible
QUALIFIED = r"\b(?:once|former|formerly|used|large|larger|big|bigger|major|significant|substantial|extensive|dense|tall|obvious|other|much|many)\b"
SEEN = r"(?:to be )?(?:visible|present|seen|found|apparent|discernible|detected|shown|evident)"
ABSENT_AFTER = (
    r"-free\b|\s*[:–-]\s*(?:no|none|nil)\b(?=\s*(?:[.,;]|$))|\s*\?\s*(?:none|no|nowhere)\b(?: either)?"
    r"|\s*(?:is|are|was|were|remains?)\s+(?:\w+ly |all )?(?:absent|missing|lacking|nowhere(?: " + SEEN + r")?"
    r"|not " + SEEN + r"|nonexistent|non-existent)\b"
    r"|\s*(?:(?:is|are)n[’']t|can(?:not|[’']t| not) be) " + SEEN + r"\b"
)
ABSENT_TOO = r"\b(?:and so (?:is|are)|as (?:is|are)|likewise|nor (?:is|are))(?: the| any)?\s*$"
EXCEPTION = (
    r"besides|except(?:ing)?(?: for)?|apart from|aside from|other than|save for|but for|with the exception of"
)
HEDGES = (
    r"possibly|perhaps|maybe|probably|likely|presumably|apparently|seemingly|potentially|allegedly|might|could be"
    r"|may(?= (?:also )?(?:be|have|contain|include|show|lie|cover|hold|well))|(?:seem|appear)s?(?= to (?:be|show|have|contain|include)| like)"
    r"|looks? like|resembl(?:es|e|ing)|suggest(?:s|ing|ive of)?|hints? (?:of|at)|i think|i guess|what (?:looks|seems)"
)

_NAMES = r"carolina|dakota|america|africa|korea|virginia|sea|pole|facing"
_COMPASS = r"(?:north|south)(?:[- ]?(?:east|west))?|east|west"
_PART = r"(?: (?:half|third|quarter|part|side|corner|edge|portion|section|area|region|end|boundary|margin|border|quadrant|strip))?"
_PREPOSITION = r"(?:at|in|on|along|toward|towards|near|to|across|from)"
_HERE = rf"(?: of (?:the |this |our )?(?:whole |entire )?{_GROUND}|(?=\s*(?:[.,;:!?)]|$|is\b|are\b|and\b|while\b|there\b|lies?\b)))"
_SIDE = r"(?:half|third|quarter|part|edge|side|portion|section|margin|border|quadrant|corner|end|boundary|strip)s?"
_EDGEWARD = r"(?:(?:top|upper|bottom|lower)(?:[- ](?:left|right))?|left|right)(?: (?:corner|side|edge))?"
#: words of direction that name no place in the picture: courses and relations
COURSES = (
    rf"(?:flow|run|head|lead|bend|turn|point|drain|slope|drift|fac|travel)(?:s|es|ing|e|ed)?(?: (?:to(?:wards?)? the|due|off|towards?))?"
    rf" (?:{_COMPASS})(?:wards?|erly)?(?![- ]?ern)|north (?:arrow|is up|up|star|wind)|(?:further|farther) (?:to the )?(?:{_COMPASS})"
    rf"|(?:its|their) (?:{_COMPASS})(?:ern)?(?: (?:half|part|side|corner|edge|end|bank|shore|tip|boundary|margin))?"
    rf"|(?:{_COMPASS})(?:ern)? (?:banks?|shores?)",
    rf"(?:cut|run|cross|pass|flow|wind|lead|go|extend|snake|meander|pass)(?:s|es|ing|ting|ning)? (?:across|through|over)"
    rf" (?:the |this )(?:whole |entire )?{_GROUND}",
    rf"from (?:the )?(?:{_COMPASS})\w*(?: \w+)? (?:to|towards?|into) (?:the )?(?:{_COMPASS})\w*"
    rf"|(?:north|east|west|south)[- ]to[- ](?:north|east|west|south)|north-south|east-west"
    rf"|from (?:the )?{_EDGEWARD}(?: \w+)? (?:to|towards?|into) (?:the )?{_EDGEWARD}"
    rf"|(?:to |on )?the (?:left|right) of(?! (?:the |this |our )?(?:whole |entire )?{_GROUND})"
    rf"|(?:{_COMPASS})(?:ern)? (?:half|part|side|corner|edge|end|bank|shore|tip|portion|boundary|margin) of"
    rf"(?! (?:the |this |our )?(?:whole |entire )?{_GROUND})"
    rf"|(?:to the )?(?:{_COMPASS})(?:ern)? of(?! (?:the |this |our )?(?:whole |entire )?{_GROUND})",
)
#: where: group names the place
PLACES = (
    rf"(?P<compass>{_COMPASS})(?:ern(?:most)?|erly|wards?)?(?![- ](?:{_NAMES}))(?! (?-i:[A-Z])[a-z]){_PART}",
    r"(?P<short>(?-i:NW|NE|SW|SE))(?: (?:corner|quadrant|part))?",
    rf"(?P<both>(?:upper|lower|top|bottom)[- ](?:left|right))(?:[- ]hand)?(?: {_SIDE})?",
    r"(?P<upright4>upper|lower|top|bottom)(?= and (?:upper|lower|top|bottom) (?:half|halves|third|part|edge|side))",
    rf"(?P<upright>upper|lower|top|bottom)(?:[- ]most)? {_SIDE}"
    rf"|{_PREPOSITION} the (?:very )?(?P<upright2>top|bottom)(?![- ](?:left|right))(?! of (?:a|the hill))"
    rf"|the (?:very )?(?P<upright3>top|bottom){_HERE}",
    rf"(?:left|right) and (?:left|right) (?:sides?|edges?)|(?P<side>left|right)(?:[- ]?hand)?(?: hand)? {_SIDE}"
    rf"|{_PREPOSITION} the (?:far |very )?(?P<side2>left|right)",
    r"(?P<centre>(?:in|at|around|near|through) the (?:very |exact )?(?:centre|center|middle|heart)(?! of (?:the |a )?(?:town|city|"
    rf"village|lake|forest|field))(?: of (?:the |this )?{_GROUND})?|central (?:part|area|region|section|portion|third|zone)"
    rf"|the (?:very )?(?:centre|center|middle){_HERE}|the (?:very )?heart of the {_GROUND}|centrally(?: located| placed)?|cent(?:re|er) of the {_GROUND})",
    rf"(?P<edge>(?:the |all (?:the )?|its )?(?:(?:outer )?edges|(?:outer )?margins|borders|periphery|perimeter|fringes)"
    rf"(?: of (?:the |this )?{_GROUND})|(?:along|around|at|on|near) (?:the |all (?:the )?|its )(?:(?:outer )?edges?|margins?|borders?|periphery"
    rf"|perimeter|fringes?)(?! of (?:the |a |this )?(?!{_GROUND}))(?: of (?:the |this )?{_GROUND})?)",
    r"(?P<corners>(?:in |at )?(?:the|all|each|every)(?: (?:of the )?four| of the)? corners?)",
    r"(?P<throughout>throughout|everywhere"
    rf"|(?:spread |scattered |distributed )?(?:all )?(?:across|over) (?:the|this) (?:entire |whole )?{_GROUND})",
)  # fmt: skip
SIDES = {
    "top": "north", "upper": "north", "bottom": "south", "lower": "south", "left": "west", "right": "east",
    "nw": "northwest", "ne": "northeast", "sw": "southwest", "se": "southeast",
}  # fmt: skip

_ABOUT = (
    r"(?:(?P<about>about|around|roughly|approximately|approx\.?|some|circa|ca\.?|~|an estimated|an approximate)\s*"
    r"|(?P<nearly>nearly|almost|just under|just below|slightly (?:less than|under|below)|a little (?:less than|under)|close to)\s+"
    r"|(?P<little_more>just over|just above|slightly (?:more than|over|above)|a little (?:more than|over))\s+)?"
)
_BOUND = (
    r"(?:(?P<below>less than|under|below|fewer than|at most|no more than|not more than|up to|a maximum of)|"
    r"(?P<above>more than|well over|over|above|exceed(?:s|ing)?|at least|no less than|not less than|upwards of|in excess of))\s+"
)
_UNITS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
_TENS = {
    "ten": 10, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
_TEENS = {"eleven": 11, "twelve": 12, "fifteen": 15}
#: numbers in words up to ninety-nine
NUMBER_WORDS = (
    _UNITS | _TENS | _TEENS
    | {f"{ten}{gap}{unit}": value + add for ten, value in _TENS.items() if value > 10
       for unit, add in _UNITS.items() for gap in "- "}
)  # fmt: skip
_WORDED = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
_PERCENT = r"(?:\s*%|[- ](?:percent|per cent|pct)\b)"
_NUMBER = rf"(?P<number>\d+(?:\.\d+)?|{_WORDED}){_PERCENT}"
FRACTIONS = {name: value for value, names in LADDER for name in names} | {
    "the half": 0.5, "a half": 0.5, "a fourth": 0.25, "one fourth": 0.25, "one in ten": 0.1, "one in five": 0.2,
    "half": 0.5, "a full half": 0.5, "1/10": 0.1, "1/5": 0.2, "1/4": 0.25, "1/3": 1 / 3, "2/5": 0.4, "1/2": 0.5,
    "3/5": 0.6, "2/3": 2 / 3, "3/4": 0.75, "4/5": 0.8,
}  # fmt: skip
_RUNGS = "|".join(name.replace(" ", "[ -]") for name in sorted(FRACTIONS, key=len, reverse=True))
_FRACTION = rf"(?P<fraction>{_RUNGS})\b(?![- ](?:largest|time|way|hour|meridian))"
_OF_PEOPLE = r"(?! of (?:the |all |our )?(?:readers|people|users|visitors|time|year|cases|respondents|images|files|work|day)\b)"
VAGUE_RANGES = {name: (low, high) for low, high, names in VAGUE for name in names} | {
    "the vast majority": (0.75, 1.0), "the overwhelming majority": (0.75, 1.0), "the great majority": (0.75, 1.0),
    "the bulk": (0.5, 1.0), "most": (0.5, 1.0), "over most of": (0.5, 1.0),
    "much of": (0.3, 1.0), "a large part": (0.3, 1.0), "large parts": (0.3, 1.0), "a large portion": (0.3, 1.0),
    "a large share": (0.3, 1.0), "a good part": (0.3, 1.0), "a considerable part": (0.3, 1.0),
    "a significant portion": (0.3, 1.0), "a significant part": (0.3, 1.0), "a big chunk": (0.3, 1.0),
    "a substantial part": (0.3, 1.0), "a substantial portion": (0.3, 1.0), "large portions": (0.3, 1.0),
    "almost everything": (0.9, 1.0), "nearly everything": (0.9, 1.0), "practically all": (0.9, 1.0),
    "a small fraction": (0.0, 0.2), "a tiny fraction": (0.0, 0.2), "a minor part": (0.0, 0.2),
    "a tiny part": (0.0, 0.2), "a small proportion": (0.0, 0.2), "a tiny portion": (0.0, 0.2),
    "a minority": (0.0, 0.5), "less than most": (0.0, 0.5),
}  # fmt: skip
#: amounts that stand before their noun and bind to nothing else
DETERMINERS = {
    r"(?:only |just |quite )?a few": (0.0, 0.2), r"(?:only |just )?a handful of": (0.0, 0.2), r"(?:very |only )?few": (0.0, 0.2),
    r"(?:just |only )?a little(?: bit of)?": (0.0, 0.2), r"(?:very |only |relatively )?little": (0.0, 0.2),
    r"(?:a )?traces? of": (0.0, 0.05), r"(?:almost|virtually|practically|next to) no(?:thing of)?": (0.0, 0.05),
    r"(?:hardly|barely|scarcely) (?:any|a)": (0.0, 0.05), r"little or no|little to no": (0.0, 0.05),
}  # fmt: skip
ENTIRE = (
    rf"(?<!\bof )(?<!\bin )(?<!\bof the )(?<!\bin the )(?:the |an? |this )?(?:entire|whole|full) {_GROUND}|all (?:of )?(?:the |this ){_GROUND}|entirely|completely|wholly"
    rf"|exclusively|nothing (?:here |else )?but|fully|all of it|everything"
)
SHARES = (
    rf"(?:between |from )?{_ABOUT}(?P<from>\d+(?:\.\d+)?|{_WORDED})(?:{_PERCENT})?\s*(?:[-–](?=\s?\d)|to|and)\s*"
    rf"(?P<to>\d+(?:\.\d+)?|{_WORDED}){_PERCENT}",
    rf"between (?P<low>{_RUNGS}) and (?P<high>{_RUNGS})(?![- ](?:largest|time|way))",
    rf"(?:{_BOUND})?{_ABOUT}(?:{_NUMBER}|{_FRACTION}){_OF_PEOPLE}",
    rf"(?P<vague>{'|'.join(sorted((v for v in VAGUE_RANGES if v != 'most'), key=len, reverse=True))}"
    rf"|most(?= of (?:the |this |it|what)|(?= \w+ is )){_OF_PEOPLE})",
    rf"(?P<entire>{ENTIRE})",
    rf"(?P<determiner>{'|'.join(DETERMINERS)})",
)
ENTIRE_RANGE, ENTIRE_BUT_FOR = ALL, (0.8, 1.0)

COUNTS = {
    "a single": (1, 1), "two": (2, 2), "a pair of": (2, 2), "a couple of": (2, 2), "three": (3, 3), "four": (4, 4),
    "five": (5, 5), "six": (6, 6), "seven": (7, 7), "eight": (8, 8), "several": (3, float("inf")),
    "multiple": (2, float("inf")), "numerous": (3, float("inf")),
}  # fmt: skip
COUNT = (
    r"(?:(?P<least>at least|more than|over) )?(?P<count>\d{1,2}|"
    + "|".join(COUNTS)
    + r")(?! (?:times|or|of the|years|days|kilomet|met))"
)
#: nouns that are one patch each, and words that make any class one
ENCLOSED = r"lakes?|ponds?|reservoirs?|villages?|towns?|settlements?|hamlets?|quarry|quarries|(?:water )?bod(?:y|ies)(?: of water)?"
PATCHES = (
    r"(?:patch(?:es)?|stands?|clumps?|plots?|parcels?|clusters?|bodies|body|areas|blocks|islands|pockets?)"
)

ADJACENCY = (
    r"(?:is |are )?(?:directly )?(?:next to|beside|alongside|adjacent to|abut(?:s|ting|ted by)?|adjoin(?:s|ing|ed by)?|touch(?:es|ing)?"
    r"|(?:border|surround|fring|flank|encircl|enclos|ring|edg|line|skirt|rimm|hemm|bound|hedg)(?:e?d)(?: in)?(?: on (?:all|both|three) sides)? (?:by|with)"
    r"|border(?:s|ing)?|surround(?:s|ing)?|fring(?:es|ing)|flank(?:s|ing)?|encircl(?:es?|ing)|enclos(?:es?|ing)|skirt(?:s|ing)?|hug(?:s|ging)?"
    r"|meets?(?! the eye)|lin(?:es?|ing)(?= (?:the|both|its|a)\b)|(?:right |all )?along|(?:right |all )?around(?= (?:the|a|an|this|it|them)\b)|lined by|lined with"
    r"|on the (?:banks?|shores?|edge) of|at the edge of(?= (?:the|a) ))"
)
LARGER = r"\b(?:more|larger|bigger|greater|wider|twice|three times)\b"
SMALLER = r"\b(?:less|fewer|smaller|half)\b"
EXCEEDS = r"(?:outnumber|outweigh|exceed|surpass)(?:s|ed|ing)?"
AS_MUCH = r"\bas (?:much|many|large|big|extensive|widespread)\b"

BOUNDARY = r"[,;:]|\b(?:and|but|yet|while|whilst|whereas|although|though|plus|then)\b|(?<!covered )(?<!filled )(?<!lined )\bwith(?= )"
VERB = (
    r"\b(?:is|are|covers?|occup(?:y|ies)|fills?|lies?|dominates?|makes?|takes?|appears?|stretch(?:es)?|sits?|runs?"
    r"|accounts?|remains?|follows?|spreads?|stands?|blankets?|surrounds?)\b"
)
PLURAL_VERB = (
    r"\s+(?:together |both )?(?:are|cover|occupy|fill|make|take|lie|dominate|account|surround|stand|appear|stretch"
    r"|run|border|line|remain|alternate|share)\b"
)


def whole_words(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that matches whole words only, and nothing after 'non-'."""
    return re.compile(rf"(?<![\w])(?<!non-)(?<!non )(?:{pattern})(?!\w)", re.IGNORECASE)


def whole_shares(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of numbers and words that is not the tail of a word or number."""
    return re.compile(rf"(?<![\w.])(?:{pattern})(?!\w)", re.IGNORECASE)
