"""Maps of layers and their way through the plane of nHSIC, as they are drawn."""

from narrows.papers.ib_rar_figures import DependencePoint, LayerMap
from narrows.papers.ib_rar_plane import DependenceConfig, DependenceRecord
from narrows.report.figures.ib_rar import dependence_sections, map_sections
from narrows.runs import Member
from scenarios_runs import tiny_config

MAPS = [
    LayerMap(Member("cross_entropy", 0.0, 0), "fc2", [[0.0, 1.0], [2.0, 3.0]], [4, 7]),
    LayerMap(Member("ib_rar", 0.008, 0), "fc2", [[5.0, 6.0], [7.0, 8.0]], [4, 7]),
]


def test_each_image_is_a_point_of_its_method_and_class():
    (section,) = map_sections(MAPS)
    rows = section.chart.to_dict()["data"]["values"]
    assert rows[0] == {"method": "cross_entropy", "x": 0.0, "y": 1.0, "class": "4"}
    assert rows[3] == {"method": "ib_rar, beta = 0.008", "x": 7.0, "y": 8.0, "class": "7"}
    assert "fc2 of cross_entropy, fc2 of ib_rar" in section.text[0]


def test_classes_have_their_names():
    (section,) = map_sections(MAPS, [f"class {i}" for i in range(10)])
    spec = section.chart.to_dict()
    assert spec["spec"]["encoding"]["color"]["scale"]["domain"] == ["class 4", "class 7"]
    assert {row["class"] for row in spec["data"]["values"]} == {"class 4", "class 7"}


def test_many_classes_have_colours_again():
    many = LayerMap(Member("vib", 0.1, 0), "0", [[0.0, 0.0]] * 100, list(range(100)))
    (section,) = map_sections([many])
    scale = section.chart.to_dict()["spec"]["encoding"]["color"]["scale"]
    assert len(scale["domain"]) == len(scale["range"]) == 100


def test_a_method_has_its_points_in_order():
    points = {
        "cross_entropy": [DependencePoint(0, "block4", 1.0, 2.0)],
        "ib_rar": [DependencePoint(0, "block4", 1.0, 2.0), DependencePoint(50, "block4", 3.0, 4.0)],
    }
    record = DependenceRecord(DependenceConfig(tiny_config()), points)
    (section,) = dependence_sections(record)
    rows = section.chart.to_dict()["data"]["values"]
    assert [(row["method"], row["step"]) for row in rows] == [
        ("cross_entropy", 0), ("ib_rar", 0), ("ib_rar", 50),
    ]  # fmt: skip
    assert (rows[2]["x"], rows[2]["y"]) == (3.0, 4.0)
    assert "block4, on 1,000 training images in batches of 100" in section.text[0]
