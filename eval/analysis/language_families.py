"""The script and the family of a language, to put related languages side by side.

A family is a branch where the family is large (Romance, Indic, Bantu), and a group without a common ancestor where
linguists keep one (Creole, constructed).
"""

from collections.abc import Iterable

from clas_models.modeling.language_names import USUAL_SCRIPTS
from clas_models.modeling.language_tags import own_code

OTHER = "other"
_FAMILIES = """
Albanian: aln sq; Algic: cr oj; Arawakan: guc; Armenian: hy hyw; Austroasiatic: kha km mnw sat vi; Austronesian: ace ban
bcl bew bjn bug ceb ch dtp fil fj haw hil ho iba id ilo jv mad mak mg mh mi min ms na nia niu pag pam pau rap sm su tet
tl to ty war; Aymaran: ay; Baltic: lt ltg lv sgs; Bantu: bem cjk fan hz kam kg ki kj kmb lg ln lu lua nd ng nr nso ny
nyn rn rw sn ss st sw swc tn ts tum umb ve vmw xh zu; Basque: eu; Berber: kab shi taq tzm zgh; Celtic: br cy ga gd gv
kw; Chadic: ha; Chinese: gan hak hsn lzh nan wuu yue zh; Creole: bi cbk ht jam kea kri pap pcm sg srn tpi; Cushitic: aa
om so; Dravidian: kn ml ta tcy te; Eskimo-Aleut: ik iu kl; Germanic: af ang bar da de en fo frr fy gsw got is ksh lb li
nb nds nl nn no pdc sco stq sv vls yi zea; Greek: el grc pnt; Hmong-Mien: hmn; Indic: as awa bho bn bpy ctg doi dty dv
gom gu hi hne kok ks mag mai mr ne or pa pi pnb rom sa sd si skr syl ur; Iranian: ae bal bcc ckb diq fa glk kmr ku lrc
mzn os prs ps tg zza; Iroquoian: chr; Japonic: ja; Kartvelian: ka xmf; Koreanic: ko; Mande: bm dyu nqo; Mayan: cak mam
quc; Mongolic: bua bxr mn xal; Na-Dene: nv; Niger-Congo: ak dag ee efi fat ff fon fuc gaa ig kbp mos tw wo yo;
Nilo-Saharan: dik din kr luo nus; North Caucasian: ab ady av ce dar inh kbd lbe lez; Quechuan: qu quy; Romance: an ast
ca co es ext fr frp fur gl it la lad lij lld lmo mwl nap oc pcd pms pt rm ro sc scn vec wa; Semitic: acm acq aeb ajp am
apc apd ar arc arq ars ary arz he mey mt syr ti tig; Slavic: be bg bs cs csb cu dsb hr hsb mk pl ru rue sh sk sl sr szl
uk; Tai: lo shn th za; Tibeto-Burman: bo brx dz ii kac ksw lus mni my new; Tupian: gn; Turkic: alt az azb ba crh cv gag
kaa kk krc kum ky nog sah tk tr tt tyv ug uz; Uralic: et fi hu kv mdf mhr mrj myv olo se sma smj smn sms udm vep vro;
Uto-Aztecan: nah; constructed: eo ia ie io jbo lfn tok vo
"""


def _fill() -> dict[str, str]:
    entries = (" ".join(entry.split()).split(": ") for entry in _FAMILIES.split(";"))
    return {code: family for family, codes in entries for code in codes.split()}


FAMILIES = _fill()
"""By canonical code of a language."""


def script_and_family(code: str) -> tuple[str, str]:
    """The ISO 15924 code of a language's script, its tag's own or the usual one, and its family; `OTHER` for each that
    is not known.
    """
    language, *parts = (own_code(code) or code).split("-")
    told = next((part for part in parts if len(part) == 4 and part.isalpha()), None)
    known = USUAL_SCRIPTS.get(language, ["Latn" if language in FAMILIES else OTHER])
    return told or known[-1], FAMILIES.get(language, OTHER)


def by_script_and_family(codes: Iterable[str]) -> tuple[str, ...]:
    """Sorted so that languages of one script, and within it of one family, stand together; Latin script first."""

    def order(code: str) -> tuple[bool, str, str, str]:
        script, family = script_and_family(code)
        return script != "Latn", script, family, code

    return tuple(sorted(codes, key=order))
