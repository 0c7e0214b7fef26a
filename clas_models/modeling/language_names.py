"""The languages that are known by a code or an English name, as data.

All of ISO 639-1, and those of ISO 639-3 that have no code there and that models are evaluated in.  What a text that a
user writes means is said in `language.py`.

Source: ISO 639-1, 639-2 and 639-3 (codes and macrolanguages), ISO 15924 (scripts).
"""

# Code of ISO 639-1, of 639-2/T and, where it differs, 639-2/B; then English names, the first of them the usual one.
_TWO_LETTERS = """
aa aar Afar; ab abk Abkhazian|Abkhaz; ae ave Avestan; af afr Afrikaans; ak aka Akan; am amh Amharic;
an arg Aragonese; ar ara Arabic|Modern Standard Arabic; as asm Assamese; av ava Avaric|Avar; ay aym Aymara;
az aze Azerbaijani|Azeri; ba bak Bashkir; be bel Belarusian; bg bul Bulgarian; bi bis Bislama; bm bam Bambara;
bn ben Bengali|Bangla; bo bod/tib Tibetan; br bre Breton; bs bos Bosnian; ca cat Catalan|Valencian; ce che Chechen;
ch cha Chamorro; co cos Corsican; cr cre Cree; cs ces/cze Czech; cu chu Church Slavic; cv chv Chuvash;
cy cym/wel Welsh; da dan Danish; de deu/ger German; dv div Dhivehi|Divehi|Maldivian; dz dzo Dzongkha; ee ewe Ewe;
el ell/gre Greek|Modern Greek; en eng English; eo epo Esperanto; es spa Spanish|Castilian; et est Estonian;
eu eus/baq Basque; fa fas/per Persian|Farsi; ff ful Fulah|Fula; fi fin Finnish; fj fij Fijian; fo fao Faroese;
fr fra/fre French; fy fry Western Frisian|Frisian; ga gle Irish; gd gla Scottish Gaelic|Gaelic; gl glg Galician;
gn grn Guarani; gu guj Gujarati; gv glv Manx; ha hau Hausa; he heb Hebrew; hi hin Hindi; ho hmo Hiri Motu;
hr hrv Croatian; ht hat Haitian Creole|Haitian; hu hun Hungarian; hy hye/arm Armenian; hz her Herero;
ia ina Interlingua; id ind Indonesian; ie ile Interlingue; ig ibo Igbo; ii iii Sichuan Yi|Nuosu; ik ipk Inupiaq;
io ido Ido; is isl/ice Icelandic; it ita Italian; iu iku Inuktitut; ja jpn Japanese; jv jav Javanese;
ka kat/geo Georgian; kg kon Kongo|Kikongo; ki kik Kikuyu|Gikuyu; kj kua Kuanyama; kk kaz Kazakh;
kl kal Kalaallisut|Greenlandic; km khm Khmer|Central Khmer; kn kan Kannada; ko kor Korean; kr kau Kanuri;
ks kas Kashmiri; ku kur Kurdish; kv kom Komi; kw cor Cornish; ky kir Kyrgyz|Kirghiz; la lat Latin;
lb ltz Luxembourgish; lg lug Ganda|Luganda; li lim Limburgish|Limburgan; ln lin Lingala; lo lao Lao; lt lit Lithuanian;
lu lub Luba-Katanga; lv lav Latvian; mg mlg Malagasy; mh mah Marshallese; mi mri/mao Maori|Māori;
mk mkd/mac Macedonian; ml mal Malayalam; mn mon Mongolian; mr mar Marathi; ms msa/may Malay; mt mlt Maltese;
my mya/bur Burmese|Myanmar; na nau Nauru; nb nob Norwegian Bokmål|Norwegian Bokmal|Bokmål|Bokmal;
nd nde North Ndebele; ne nep Nepali; ng ndo Ndonga; nl nld/dut Dutch|Flemish; nn nno Norwegian Nynorsk|Nynorsk;
no nor Norwegian; nr nbl South Ndebele; nv nav Navajo; ny nya Chichewa|Nyanja|Chewa; oc oci Occitan; oj oji Ojibwa;
om orm Oromo; or ori Odia|Oriya; os oss Ossetian; pa pan Punjabi|Panjabi; pi pli Pali; pl pol Polish;
ps pus Pashto|Pushto; pt por Portuguese; qu que Quechua; rm roh Romansh; rn run Rundi|Kirundi;
ro ron/rum Romanian|Moldovan|Moldavian; ru rus Russian; rw kin Kinyarwanda; sa san Sanskrit; sc srd Sardinian;
sd snd Sindhi; se sme Northern Sami; sg sag Sango; sh hbs Serbo-Croatian; si sin Sinhala|Sinhalese; sk slk/slo Slovak;
sl slv Slovenian|Slovene; sm smo Samoan; sn sna Shona; so som Somali; sq sqi/alb Albanian; sr srp Serbian;
ss ssw Swati|Swazi; st sot Southern Sotho|Sotho|Sesotho; su sun Sundanese; sv swe Swedish; sw swa Swahili|Kiswahili;
ta tam Tamil; te tel Telugu; tg tgk Tajik; th tha Thai; ti tir Tigrinya; tk tuk Turkmen; tl tgl Tagalog;
tn tsn Tswana|Setswana; to ton Tonga|Tongan; tr tur Turkish; ts tso Tsonga; tt tat Tatar; tw twi Twi; ty tah Tahitian;
ug uig Uyghur|Uighur; uk ukr Ukrainian; ur urd Urdu; uz uzb Uzbek; ve ven Venda; vi vie Vietnamese; vo vol Volapük;
wa wln Walloon; wo wol Wolof; xh xho Xhosa|isiXhosa; yi yid Yiddish; yo yor Yoruba; za zha Zhuang;
zh zho/chi Chinese|Mandarin|Mandarin Chinese; zu zul Zulu|isiZulu
"""

# Code of ISO 639-3 (or 639-2), and English names.
_THREE_LETTERS = """
ace Acehnese; acm Mesopotamian Arabic; acq Ta'izzi-Adeni Arabic; ady Adyghe; aeb Tunisian Arabic;
ajp South Levantine Arabic; aln Gheg Albanian; alt Southern Altai; ang Old English; apc Levantine Arabic;
apd Sudanese Arabic; arc Aramaic; ars Najdi Arabic; arq Algerian Arabic; ary Moroccan Arabic; arz Egyptian Arabic;
ast Asturian; awa Awadhi; azb South Azerbaijani; bal Baluchi|Balochi; ban Balinese; bar Bavarian; bcc Southern Balochi;
bcl Central Bikol; bem Bemba; bew Betawi; bho Bhojpuri; bjn Banjar; bpy Bishnupriya; brx Bodo; bua Buriat; bug Buginese;
bxr Russia Buriat; cak Kaqchikel; cbk Chavacano; ceb Cebuano; chr Cherokee; cjk Chokwe; ckb Central Kurdish|Sorani;
crh Crimean Tatar; csb Kashubian; ctg Chittagonian; dag Dagbani; dar Dargwa; dik Southwestern Dinka; din Dinka;
diq Dimli; doi Dogri; dsb Lower Sorbian; dtp Kadazan Dusun; dty Dotyali; dyu Dyula; efi Efik; ext Extremaduran;
fan Fang; fat Fanti|Fante; fil Filipino; fon Fon; frp Arpitan; frr Northern Frisian; fuc Pulaar; fur Friulian;
gaa Ga; gag Gagauz; gan Gan Chinese; glk Gilaki; gom Goan Konkani; got Gothic; grc Ancient Greek;
gsw Swiss German|Alsatian; guc Wayuu; hak Hakka Chinese|Hakka; haw Hawaiian; hil Hiligaynon; hmn Hmong;
hne Chhattisgarhi; hsb Upper Sorbian; hsn Xiang Chinese; hyw Western Armenian; iba Iban; ilo Iloko|Ilocano; inh Ingush;
jam Jamaican Patois; jbo Lojban; kaa Kara-Kalpak|Karakalpak; kab Kabyle; kac Kachin|Jingpho; kam Kamba;
kbd Kabardian; kbp Kabiyè; kea Kabuverdianu|Cape Verdean Creole; kha Khasi; kmb Kimbundu;
kmr Northern Kurdish|Kurmanji; kok Konkani; krc Karachay-Balkar; kri Krio; ksh Kölsch; ksw S'gaw Karen; kum Kumyk;
lad Ladino; lbe Lak; lez Lezghian; lfn Lingua Franca Nova; lij Ligurian; lld Ladin; lmo Lombard; lrc Northern Luri;
ltg Latgalian; lua Luba-Lulua; luo Luo|Dholuo; lus Mizo|Lushai; lzh Literary Chinese; mad Madurese; mag Magahi;
mai Maithili; mak Makasar; mam Mam; mdf Moksha; mey Hassaniyya; mhr Eastern Mari; min Minangkabau; mni Manipuri|Meitei;
mnw Mon; mos Mossi|Mooré; mrj Western Mari; mwl Mirandese; myv Erzya; mzn Mazanderani; nah Nahuatl; nan Min Nan Chinese;
nap Neapolitan; nds Low German|Low Saxon; new Newari|Newar; nia Nias; niu Niuean; nog Nogai; nqo N'Ko;
nso Northern Sotho|Sepedi|Pedi; nus Nuer; nyn Nyankole; olo Livvi; pag Pangasinan; pam Pampanga|Kapampangan;
pap Papiamento; pau Palauan; pcd Picard; pcm Nigerian Pidgin; pdc Pennsylvania German; pms Piedmontese;
pnb Western Panjabi; pnt Pontic; prs Dari; quc K'iche'; quy Ayacucho Quechua; rap Rapanui; rom Romany; rue Rusyn;
sah Yakut|Sakha; sat Santali; scn Sicilian; sco Scots; sgs Samogitian; shi Tachelhit; shn Shan; skr Saraiki;
sma Southern Sami; smj Lule Sami; smn Inari Sami; sms Skolt Sami; srn Sranan Tongo; stq Saterland Frisian;
swc Congo Swahili; syl Sylheti; syr Syriac; szl Silesian; taq Tamasheq; tcy Tulu; tet Tetum; tig Tigre; tok Toki Pona;
tpi Tok Pisin; tum Tumbuka; tyv Tuvinian|Tuvan; tzm Central Atlas Tamazight; udm Udmurt; umb Umbundu; vec Venetian;
vep Veps; vls West Flemish; vmw Makhuwa; vro Võro; war Waray; wuu Wu Chinese; xal Kalmyk; xmf Mingrelian;
yue Cantonese|Yue Chinese; zea Zeelandic; zgh Standard Moroccan Tamazight; zza Zaza
"""

# Codes of ISO 639-3 for one member of a macrolanguage that stands for it, and codes that ISO has withdrawn.
_STAND_FOR = """
als:sq arb:ar ayr:ay azj:az cmn:zh dgo:doi ekk:et fuv:ff gaz:om gug:gn ike:iu khk:mn kng:kg knc:kr knn:kok kpv:kv lvs:lv
npi:ne ory:or pbt:ps pes:fa plt:mg quz:qu swh:sw uzn:uz ydd:yi zsm:ms
in:id iw:he ji:yi jw:jv mo:ro mol:ro scc:sr scr:hr
"""

# Names of a language in one script or place, by the tag that they mean.
_NAMED_TAGS = """
zh:chinese simplified|simplified chinese; zh-Hant:chinese traditional|traditional chinese;
pt-BR:brazilian portuguese|portuguese brazil
"""

# Scripts that a tag need not say, because texts in the language are mostly in them; for all others that is Latn.
_SCRIPTS = """
Arab: acm acq aeb ajp apc apd ar arq ars ary arz azb bal bcc ckb fa glk ks lrc mey mzn pnb prs ps sd skr ug ur; Armn:
hy hyw; Beng: as bn bpy ctg mni syl; Cans: cr iu; Cher: chr; Cyrl: ab ady alt av ba be bg bua bxr ce cu cv dar inh kbd
kk krc kum kv ky lbe lez mdf mhr mk mn mrj myv nog os ru rue sah sr tg tt tyv udm uk xal; Deva: awa bho brx doi dty
gom hi hne kok mag mai mr ne new sa; Ethi: am ti tig; Geor: ka xmf; Grek: el grc pnt; Gujr: gu; Guru: pa; Hang: ko;
Hani: ja lzh yue zh; Hans: gan hsn wuu zh; Hant: hak lzh nan yue; Hebr: arc he lad yi; Jpan: ja; Khmr: km; Knda: kn
tcy; Kore: ko; Laoo: lo; Mlym: ml; Mymr: ksw mnw my shn; Nkoo: nqo; Olck: sat; Orya: or; Sinh: si; Syrc: syr; Taml:
ta; Telu: te; Tfng: tzm zgh; Thaa: dv; Thai: th; Tibt: bo dz; Yiii: ii
"""


def name_key(text: str) -> str:
    """An English name without case, hyphens and parentheses: `Chinese (Simplified)` is `chinese simplified`."""
    return " ".join("".join(" " if char in "-_()" else char for char in text.casefold()).split())


def _entries(table: str) -> list[str]:
    return [" ".join(entry.split()) for entry in table.split(";")]


NAMES: dict[str, str] = {}
"""The usual English name by canonical code: of ISO 639-1, or of 639-3 where that has none."""
CODES: dict[str, str] = {}
"""The canonical code by every code, in lower case."""
TAGS: dict[str, str] = {}
"""A canonical tag by `name_key` of every name."""
USUAL_SCRIPTS: dict[str, list[str]] = {}
"""By canonical code; a language that is missing is written in `Latn`."""


def _fill() -> None:
    for entry in _entries(_TWO_LETTERS):
        code, others, names = entry.split(" ", 2)
        CODES.update(dict.fromkeys((code, *others.split("/")), code))
        _name(code, names)
    for entry in _entries(_THREE_LETTERS):
        code, names = entry.split(" ", 1)
        CODES[code] = code
        _name(code, names)
    for pair in _STAND_FOR.split():
        member, _, code = pair.partition(":")
        CODES[member] = code
    for entry in _entries(_NAMED_TAGS):
        tag, _, keys = entry.partition(":")
        TAGS.update(dict.fromkeys(keys.split("|"), tag))
    for entry in _entries(_SCRIPTS):
        script, _, codes = entry.partition(":")
        for code in codes.split():
            USUAL_SCRIPTS.setdefault(code, []).append(script)


def _name(code: str, names: str) -> None:
    listed = names.split("|")
    NAMES[code] = listed[0]
    TAGS.update(dict.fromkeys(map(name_key, listed), code))


_fill()
SCRIPTS = frozenset({"Latn", *(script for scripts in USUAL_SCRIPTS.values() for script in scripts)})
