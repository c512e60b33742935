"""Addresses and ids: known texts, round trips, and every way in which a typed one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxcloud import ids
from fluxcloud.bech32m import decode_bech32m, encode_bech32m, split_bech32m

SENDER = ids.make_address(ids.KIND_ED25519, bytes(range(20)))

# BIP-350, "Test vectors": valid and invalid bech32m strings.
VALID_BECH32M = [
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
]
INVALID_BECH32M = [
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
]


@pytest.mark.parametrize("text", VALID_BECH32M)
def test_bech32m__bip350_valid(text: str) -> None:
    prefix, groups = split_bech32m(text)
    assert prefix == text.lower()[: len(prefix)]
    assert len(prefix) + 1 + len(groups) + 6 == len(text)


@pytest.mark.parametrize("text", INVALID_BECH32M)
def test_bech32m__bip350_invalid(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it"):
        split_bech32m(text)


def test_bech32m__known_payload() -> None:
    text = "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"
    assert split_bech32m(text) == ("abcdef", list(range(31, -1, -1)))
    payload = sum(group << 5 * (31 - i) for i, group in enumerate(range(31, -1, -1))).to_bytes(20)
    assert decode_bech32m(text) == ("abcdef", payload)
    assert encode_bech32m("abcdef", payload) == text


@given(st.binary(max_size=40))
def test_bech32m__round_trip(payload: bytes) -> None:
    assert decode_bech32m(encode_bech32m("gw", payload)) == ("gw", payload)


@given(st.binary(min_size=21, max_size=21), st.integers(0, 38), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_bech32m__one_wrong_character(payload: bytes, place: int, char: str) -> None:
    text = encode_bech32m("flux", payload)
    wrong = text[: 5 + place] + char + text[6 + place :]
    if wrong != text:
        with pytest.raises(ValueError, match="checksum"):
            decode_bech32m(wrong)


@pytest.mark.parametrize(
    "text",  # a character too many; and spare bits that are not zero (from BIP-350)
    ["gw1qfwxs37", "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j"],
)
def test_bech32m__spare_bits(text: str) -> None:
    split_bech32m(text)
    with pytest.raises(ValueError, match="last character"):
        decode_bech32m(text)


def test_ids__computed() -> None:
    # The first 20 bytes of SHA-256 over the tag and msgpack [chain, sender, nonce, index].
    assert ids.compute_app_id("c", SENDER, 1, 0).hex() == "58d2f414acaf0cd518da740cd997a3631536301b"
    assert ids.compute_node_id("c", SENDER, 1, 0).hex() == "ff05c24ea748966d9756534e5b6f607b127abd11"
    assert ids.compute_gateway_id("c", SENDER, 1, 0).hex() == "ac4f77ed29725aee43c64a6ed67c22641e51b09f"


@pytest.mark.parametrize(
    ("render", "parse", "prefix"),
    [
        (ids.render_app, ids.parse_app, "app1"),
        (ids.render_node, ids.parse_node, "node1"),
        (ids.render_gateway, ids.parse_gateway, "gw1"),
    ],
)
def test_ids__round_trip(render, parse, prefix: str) -> None:
    raw = bytes(range(20))
    text = render(raw)
    assert text.startswith(prefix)
    assert parse(f" {text}\n") == raw
    assert parse(text.upper()) == raw
    with pytest.raises(ids.BadId, match="is not a"):
        parse(ids.render_address(SENDER))
    with pytest.raises(ids.BadId, match="it holds 19 bytes, not 20"):
        parse(encode_bech32m(prefix[:-1], raw[:19]))


@pytest.mark.parametrize("kind", range(4))
def test_address__round_trip(kind: int) -> None:
    address = ids.make_address(kind, bytes(range(20)))
    assert ids.render_address(address).startswith("flux1")
    assert ids.parse_address(ids.render_address(address)) == address


def test_address__bitcoin() -> None:
    expected = bytes.fromhex("0162e907b15cbf27d5425399ebf6f0fb50ebb88f18")
    assert ids.parse_address("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa") == expected
    assert ids.parse_address("1111111111111111111114oLvT2") == ids.make_address(ids.KIND_BTC, bytes(20))


@pytest.mark.parametrize(
    "text",  # EIP-55, "Test cases"
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
    ],
)
def test_address__ethereum(text: str) -> None:
    expected = ids.make_address(ids.KIND_ETH, bytes.fromhex(text[2:]))
    assert ids.parse_address(text) == expected
    assert ids.parse_address(text.lower()) == expected
    assert ids.parse_address("0x" + text[2:].upper()) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no prefix"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed", "EIP-55"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA", "another length"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg", "no hex digit"),
        ("0x\u0660aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "no hex digit"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "checksum"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7Divf", "it holds 24 bytes"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN", "checksum"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfN0", "base58"),
        ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "it mixes"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "checksum"),
        (encode_bech32m("flux", bytes(20)), "it holds 20 bytes, not 21"),
        (encode_bech32m("node", bytes(21)), "it begins with node1"),
        (encode_bech32m("flux", b"\x04" + bytes(20)), "kind 4"),
        ("flux1" + "q" * 10_000, "longer than 90"),
        ("1" * 10_000, "too long"),
    ],
)
def test_invalid_address(text: str, problem: str) -> None:
    with pytest.raises(ids.BadId, match=problem) as caught:
        ids.parse_address(text)
    assert caught.value.code == "ids/1"
    assert len(caught.value.message) < 250
