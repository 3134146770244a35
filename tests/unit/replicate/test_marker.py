"""The input of a model by which a prediction is known again."""

import pytest

from imagegen.replicate.marker import Marker
from imagegen.replicate.replies import parse_prediction

AN_ID = "abcdefgh12345678"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("seed", Marker("seed")),
        ("small_seed", Marker("small_seed")),
        ("user_id", Marker("user_id", is_text=True)),
        ("noise:integer", Marker("noise")),
        ("seed:text", Marker("seed", is_text=True)),
        (None, None),
    ],
)
def test_a_seed_is_a_number_and_others_are_texts_unless_their_type_is_named(
    setting: str | None, expected: Marker | None
) -> None:
    assert Marker.of_setting(setting) == expected


@pytest.mark.parametrize("marker", [Marker("seed"), Marker("user_id", is_text=True)])
def test_what_is_sent_is_read_back_as_the_seed(marker: Marker) -> None:
    body = {"id": AN_ID, "status": "starting", "input": {marker.name: marker.value(2147483646)}}

    prediction = parse_prediction(body, marker)

    assert prediction is not None
    assert prediction.seed == 2147483646


@pytest.mark.parametrize("value", ["somebody", "imagegen-", "imagegen-x", "imagegen-7 ", 7, None])
def test_a_text_of_somebody_else_is_no_seed(value: object) -> None:
    assert Marker("user_id", is_text=True).seed_in({"user_id": value}) is None


def test_a_text_tells_a_person_whose_it_is() -> None:
    assert Marker("user", is_text=True).value(7) == "imagegen-7"
