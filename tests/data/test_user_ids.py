"""Tests of packed ids."""

import pytest

from centernet2.data.user_ids import join_ids, pack_ids, unpack_id
from centernet2.structures import UserId

IDS: list[list[UserId]] = [[3, -7, 2**62], [2**63, -(2**80), 5], ["7", 7, "a b", "Ä\n", "\0"], []]


@pytest.mark.parametrize("ids", IDS)
def test_ids_come_back_as_they_were(ids: list[UserId]) -> None:
    packed = pack_ids(ids)
    found = [unpack_id(packed, i) for i in range(len(ids))]
    assert found == ids and [type(each) for each in found] == [type(each) for each in ids]


def test_ids_of_several_kinds_are_joined() -> None:
    joined = join_ids([pack_ids(ids) for ids in IDS])
    assert [unpack_id(joined, i) for i in range(len(joined))] == [i for ids in IDS for i in ids]
    assert join_ids([pack_ids(IDS[0]), pack_ids(IDS[3])]).dtype.kind == "i"
