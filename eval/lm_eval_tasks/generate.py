"""Writes the YAML files of the harness from one table: `python -m eval.lm_eval_tasks.generate`.

A folder for each task has what its languages have in common, a file for each language, and the group of all.  Languages
and configurations are those of the Hub, written down, because the harness lists its tasks without a network.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clas_models.profiling.corpora import xnli, xquad
from clas_models.profiling.corpora.languages import by_language

from ..tasks import TASKS, Kind
from ..tasks.belebele import BELEBELE_SET
from ..tasks.hellaswag import HELLASWAG_SET
from ..tasks.mmmlu import MMMLU_SET
from ..tasks.published import Published
from ..tasks.xcopa import XCOPA_SET
from . import PATH

_PACKAGE = "clas_eval.lm_eval_tasks"
_BELEBELE = """
acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng azj_Latn bam_Latn
ben_Beng ben_Latn bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn ell_Grek eng_Latn est_Latn
eus_Latn fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hin_Latn hrv_Latn
hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl
kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym
mar_Deva mkd_Cyrl mlt_Latn mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva npi_Latn nso_Latn nya_Latn ory_Orya pan_Guru
pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Latn sin_Sinh slk_Latn slv_Latn sna_Latn
snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl tgl_Latn
tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn ukr_Cyrl urd_Arab urd_Latn uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn
yor_Latn zho_Hans zho_Hant zsm_Latn zul_Latn
"""
_OKAPI = "ar bn ca da de es eu fr gu hi hr hu hy id it kn ml mr ne nl pt ro ru sk sr sv ta te uk vi"  # translated
_XCOPA = "et ht id it qu sw ta th tr vi zh"
_GREEDY = """\
# Greedy means the largest logit: what a checkpoint's generation configuration says about penalties or beams is put out
# of force.  An answer ends at an end-of-sequence token and nowhere else.
generation_kwargs:
  until: []
  max_gen_toks: {tokens}
  do_sample: false
  temperature: 0.0
  num_beams: 1
  repetition_penalty: 1.0
  no_repeat_ngram_size: 0
"""


@dataclass(frozen=True)
class HarnessTask:
    """A task of `python -m eval` as a group of tasks of the harness.

    Attributes:
        name: of the task.
        repo: on the Hub.
        configs: language -> a data set's id and the name of a configuration.
        scores: the function of `scores.py`.
        aggregates: scores over a whole language that are no mean: name -> the function of `scores.py`.
    """

    name: str
    repo: str
    configs: Mapping[str, tuple[str, str]]
    scores: str = "choice_scores"
    aggregates: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, str]]:
        """The names of the files, and what stands in them."""
        yield "common_yaml", self._common()
        yield f"clas_{self.name}.yaml", self._group()
        for language, (repo, config) in self.configs.items():
            lines = ["include: common_yaml", f"task: clas_{self.name}_{language}"]
            lines += [f"dataset_path: {repo}"] if repo != self.repo else []
            lines += [f"dataset_name: {config}", f'dataset_kwargs: {{protocol: {self.name}, language: "{language}"}}']
            yield f"clas_{self.name}_{language}.yaml", "\n".join([*lines, ""])

    def _common(self) -> str:
        task = TASKS[self.name]
        is_choice = task.kind is Kind.CHOICE
        choices = ", ".join(f'"{choice}"' for choice in task.choices)
        means = dict.fromkeys(task.metrics, "mean")
        others = {name: f"!function {_PACKAGE}.scores.{function}" for name, function in self.aggregates.items()}
        return "".join(
            [
                "# What the languages have in common.  Without the ending .yaml, so that the harness takes it for no "
                "task of its own.\n# The prompts are those of `python -m eval`: "
                f"clas_eval/templates/{task.template}.txt, or the user's (--metadata templates=PATH).\n",
                f"class: !function {_PACKAGE}.protocol_task.ProtocolTask\n",
                f"dataset_path: {self.repo}\nvalidation_split: validation\n",
                f"output_type: {'multiple_choice' if is_choice else 'generate_until'}\ndoc_to_text: text\n",
                f"doc_to_choice: [{choices}]\n" if is_choice else "",
                "doc_to_target: gold\n",
                'target_delimiter: ""\n' if is_choice else "",
                "num_fewshot: 0\n",
                "" if is_choice else _GREEDY.format(tokens=task.max_new_tokens),
                f"process_results: !function {_PACKAGE}.scores.{self.scores}\nmetric_list:\n",
                *(
                    f"  - metric: {metric}\n    aggregation: {aggregation}\n    higher_is_better: true\n"
                    for metric, aggregation in {**means, **others}.items()
                ),
                "metadata:\n  version: 1.0\n",
            ]
        )

    def _group(self) -> str:
        tasks = "".join(f"  - clas_{self.name}_{language}\n" for language in self.configs)
        metrics = "".join(
            f"  - metric: {metric}\n    aggregation: mean\n    weight_by_size: false\n"
            for metric in TASKS[self.name].metrics
        )
        return f"group: clas_{self.name}\ntask:\n{tasks}aggregate_metric_list:\n{metrics}metadata:\n  version: 1.0\n"


def _of(published: Published, configs: str) -> HarnessTask:
    """A data set with these configurations, and the languages that it has elsewhere."""
    own = {language: (published.repo, name) for language, name in by_language(configs.split(), published.name).items()}
    found = {**published.elsewhere, **own}
    return HarnessTask(published.name, published.repo, {language: found[language] for language in sorted(found)})


HARNESS_TASKS = (
    HarnessTask(
        "xnli",
        xnli.REPO,
        {language: (xnli.REPO, language) for language in xnli.HUB_LANGUAGES},
        "xnli_scores",
        {"macro_f1": "macro_f1_of"},
    ),
    HarnessTask(
        "xquad",
        xquad.REPO,
        {language: (xquad.REPO, f"xquad.{language}") for language in xquad.HUB_LANGUAGES},
        "xquad_scores",
    ),
    _of(BELEBELE_SET, _BELEBELE),
    _of(MMMLU_SET, f"{_OKAPI} en is nb zh"),
    _of(HELLASWAG_SET, _OKAPI),
    _of(XCOPA_SET, _XCOPA),
)


def write(folder: Path = PATH) -> None:
    """Write all files, and remove those that the table no longer has."""
    for task in HARNESS_TASKS:
        place = folder / task.name
        place.mkdir(exist_ok=True)
        files = dict(task.files())
        for path in place.glob("*yaml"):
            if path.name not in files:
                path.unlink()
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
