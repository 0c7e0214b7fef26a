"""The layer figure: whole files, the same bytes for the same table, nothing left behind."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from clas_models.profiling.figures import save_layer_figure
from clas_models.profiling.layer_table import LayerRow, LayerTable

TABLE = LayerTable(tuple(LayerRow(layer, 5.0 + layer, 10.0, 60.0 - layer, 25.0) for layer in range(12)))


def test_png_and_svg_are_whole(tmp_path):
    from matplotlib import image

    png, svg = save_layer_figure(TABLE, tmp_path / "new" / "llama-3.1", bridge_layers=(8, 9), title="Llama 3.1")
    assert [png.name, svg.name] == ["llama-3.1.png", "llama-3.1.svg"]
    assert sorted(path.name for path in png.parent.iterdir()) == ["llama-3.1.png", "llama-3.1.svg"]
    height, width, _ = image.imread(png).shape
    assert (width, height) == (1200, 675)  # 8 x 4.5 inches at 150 dots an inch
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")


def test_the_svg_is_the_same_every_time(tmp_path):
    first, second = (save_layer_figure(TABLE, tmp_path / name, bridge_layers=(8, 9))[1] for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()
    other = save_layer_figure(TABLE, tmp_path / "c", bridge_layers=(8,))[1]
    assert other.read_bytes() != first.read_bytes()


def test_the_readers_own_matplotlib_settings_do_not_matter(tmp_path):
    import matplotlib

    expected = save_layer_figure(TABLE, tmp_path / "default")[1].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert save_layer_figure(TABLE, tmp_path / "changed")[1].read_bytes() == expected
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    "rows",
    [TABLE.rows[:1], (*TABLE.rows[:3], *TABLE.rows[6:])],
    ids=["one layer", "layers that were not profiled"],
)
def test_incomplete_tables_can_be_drawn(tmp_path, rows):
    for path in save_layer_figure(LayerTable(rows), tmp_path / "figure", bridge_layers=(0, 5, 7)):
        assert path.stat().st_size > 0


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "figure.png").mkdir()  # a folder in the way of the file
    with pytest.raises(OSError):
        save_layer_figure(TABLE, tmp_path / "figure")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.slow
def test_neither_import_nor_drawing_loads_pyplot(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from clas_models.profiling.figures import save_layer_figure\n"
        "from clas_models.profiling.layer_table import LayerRow, LayerTable\n"
        "assert 'matplotlib' not in sys.modules\n"
        "save_layer_figure(LayerTable((LayerRow(0, 10, 20, 30, 40),)), pathlib.Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "figure")], check=True)
