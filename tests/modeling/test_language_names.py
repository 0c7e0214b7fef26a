"""The table of languages: whole, without contradictions, and the same as what others say of ISO 639."""

from __future__ import annotations

import pytest

from clas_models.modeling.language_names import (
    CODES,
    NAMES,
    SCRIPTS,
    TAGS,
    USUAL_SCRIPTS,
    name_key,
)
from clas_models.modeling.language_tags import language_tag

# The languages of FLORES-200 that are written in one script, as its files are named.
FLORES = """
ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab arb_Arab ars_Arab ary_Arab
arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng
bho_Deva bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn
dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn pes_Arab
fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn hau_Latn
heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan
kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kat_Geor knc_Latn kaz_Cyrl kbp_Latn kea_Latn khm_Khmr kik_Latn kin_Latn
kir_Cyrl kmb_Latn kon_Latn kor_Hang kmr_Latn lao_Laoo lvs_Latn lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn
ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Latn mkd_Cyrl plt_Latn mlt_Latn
mni_Beng khk_Cyrl mos_Latn mri_Latn zsm_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nso_Latn nus_Latn nya_Latn
oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pol_Latn por_Latn prs_Arab pbt_Arab quy_Latn ron_Latn run_Latn
rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn
sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn tam_Taml tat_Cyrl tel_Telu tgk_Cyrl
tgl_Latn tha_Thai tir_Ethi taq_Latn tpi_Latn tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab
ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans
zul_Latn
"""


def test_every_code_has_one_name_and_every_name_one_language() -> None:
    assert set(CODES.values()) == set(NAMES)
    assert len(set(NAMES.values())) == len(NAMES)
    assert all(CODES[code] == code for code in NAMES)
    assert set(USUAL_SCRIPTS) <= set(NAMES)
    assert all(len(script) == 4 and script == script.title() for script in SCRIPTS)
    for code, name in NAMES.items():
        # "Ga" and "Mon" are codes of other languages, and a code comes first.
        assert language_tag(name) == code or name_key(name) in CODES, name


def test_a_name_that_is_a_code_as_well_is_the_code() -> None:
    clashes = {key for key, tag in TAGS.items() if CODES.get(key, tag) != tag}
    assert clashes == {"ga", "mon"}
    assert language_tag("ga") == "ga"


def test_the_files_of_flores_are_as_many_languages() -> None:
    names = FLORES.split()
    tags = {name: language_tag(name) for name in names}
    assert None not in tags.values()
    assert len(set(tags.values())) == len(names)
    assert all("-" not in str(tag) for tag in tags.values()), "each has its usual script"


def test_iso_639_agrees() -> None:
    """With the tables of another project."""
    languages = pytest.importorskip("pycountry", reason="pycountry brings the tables of ISO 639").languages
    ours = {code for code in NAMES if len(code) == 2}
    assert ours == {each.alpha_2 for each in languages if hasattr(each, "alpha_2")}
    for each in languages:
        code = getattr(each, "alpha_2", each.alpha_3)
        if code in NAMES:
            assert CODES[each.alpha_3] == code
            assert CODES[getattr(each, "bibliographic", code)] == code
            known = {word for name, tag in TAGS.items() if tag == code for word in name.split()}
            # Words, because names differ in what they add, such as "(macrolanguage)"; and in a few altogether.
            if code not in {"ace", "lus", "new", "pms", "stq", "vls", "zea", "nah"}:
                assert known & set(name_key(each.name).split()), (code, each.name)
