"""Signatures of bundles: the trusted keys come from the environment, and nothing else is loaded then."""

import base64
import json
import shutil

import pytest
import small_bundle
from workspace import Workspace

from quantalpha import bundle, signing
from quantalpha.errors import DataError, UsageError
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.secrets import environment, mask

# RFC 8032, section 7.1, test 1
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ALICE = base64.b64encode(SEED).decode()
BOB = signing.new_key()


@pytest.fixture(autouse=True)
def given(monkeypatch):
    """Sets what the environment holds."""

    def give(**values: str) -> None:
        for name in (signing.SECRET, signing.TRUSTED):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        environment.cache_clear()

    give()
    yield give
    environment.cache_clear()


def signer(key: str) -> dict[str, str]:
    return {signing.SECRET: key}


def trust(*keys: str) -> dict[str, str]:
    return {signing.TRUSTED: ", ".join(map(signing.public_key, keys))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    params = small_bundle.params("venue.name=import", "synthetic.bars=1000")
    return params, synthetic_bars("BTCUSDT", params.synthetic)


@pytest.fixture
def seal(made, tmp_path):
    params, bars = made
    return lambda: small_bundle.build(tmp_path / "bundles", bars, params)


def test_the_keys_are_those_of_the_standard():
    assert base64.b64decode(signing.public_key(ALICE)) == PUBLIC
    assert len({signing.new_key() for _ in range(3)}) == 3 and len(base64.b64decode(BOB)) == 32


def test_a_signature_leaves_the_id_and_is_asked_for_only_where_keys_are_trusted(seal, given):
    plain = seal()
    assert signing.FILE not in {path.name for path in plain.folder.iterdir()}
    given(**signer(ALICE))
    signed = seal()  # the same content: the bundle stays, its signature is added
    assert (signed.id, signed.folder) == (plain.id, plain.folder) and signing.FILE in {path.name for path in signed.folder.iterdir()}
    assert [path.name for path in signed.folder.parent.iterdir()] == [signed.id]
    for trusted in ({}, trust(ALICE), trust(BOB, ALICE)):
        given(**trusted)
        assert bundle.load(signed.folder).id == signed.id
    given(**trust(BOB))
    with pytest.raises(DataError, match="signed by key 11qYAYKx..., which is not in QUANTALPHA_TRUSTED_KEYS"):
        bundle.load(signed.folder)
    given(**signer(BOB))
    seal()
    given(**trust(BOB))
    bundle.load(signed.folder)


def test_unsigned_is_refused_where_keys_are_trusted_and_sealed_all_the_same(seal, given):
    given(**trust(ALICE))
    with pytest.raises(DataError, match="not signed, but QUANTALPHA_TRUSTED_KEYS is set; set QUANTALPHA_SIGNING_KEY and promote again"):
        bundle.load(seal().folder)


def test_what_was_signed_is_this_bundle_and_nothing_else(seal, given, tmp_path):
    given(**signer(ALICE))
    sealed = seal()
    copy = shutil.copytree(sealed.folder, tmp_path / sealed.id)
    text = json.loads((copy / signing.FILE).read_text())
    for wrong in (base64.b64encode(bytes(64)).decode(), signing._text(signing._private(ALICE).sign(sealed.id.encode()))):
        (copy / signing.FILE).write_text(json.dumps(text | {"signature": wrong}))
        given(**trust(ALICE))
        with pytest.raises(DataError, match="signature.json is not of this bundle"):
            bundle.load(copy)
    (copy / "params.json").write_text("{}")
    shutil.copy(sealed.folder / signing.FILE, copy)
    with pytest.raises(DataError, match="params.json was altered"):
        bundle.load(copy)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"public_key": "AA=="}', '{"public_key": "AA==", "signature": "AA=="}', '{"public_key": 7, "signature": null}']
)
def test_a_malformed_signature_is_refused_even_where_no_key_is_trusted(seal, text):
    sealed = seal()
    (sealed.folder / signing.FILE).write_text(text)
    with pytest.raises(DataError, match="signature.json"):
        bundle.load(sealed.folder)


def test_a_wrong_key_is_told_without_telling_it(given):
    given(**{signing.TRUSTED: f"{signing.public_key(ALICE)} nonsense"})
    with pytest.raises(UsageError, match="QUANTALPHA_TRUSTED_KEYS: key 2 is not 32 bytes as base64"):
        signing.trusted_keys()
    given(**signer("secret-nonsense"))
    with pytest.raises(UsageError, match="QUANTALPHA_SIGNING_KEY: expected 32 bytes as base64") as wrong:
        signing.require_usable()
    assert "secret-nonsense" not in str(wrong.value) and mask("it is secret-nonsense") == "it is ***"


@pytest.mark.parametrize(("set", "says"), [(trust(ALICE), "is not set"), (signer(BOB) | trust(ALICE), "belongs to none of its keys")])
def test_a_promotion_that_nobody_would_load_is_refused_before_the_gate(given, set, says):
    given(**set)
    with pytest.raises(UsageError, match=f"QUANTALPHA_SIGNING_KEY {says}"):
        signing.require_usable()


@pytest.mark.parametrize("set", [{}, signer(ALICE), signer(ALICE) | trust(BOB, ALICE)])
def test_a_promotion_that_is_loaded_is_not(given, set):
    given(**set)
    signing.require_usable()


def test_the_command_makes_a_pair_once_and_then_shows_the_public_key(tmp_path):
    workspace = Workspace(tmp_path)
    first = workspace.call("keys")
    assert first.code == 0
    (tmp_path / ".env").write_text(first.out)
    secret, trusted = (line.split("=", 1)[1] for line in first.out.splitlines())
    assert signing.public_key(secret) == trusted
    assert workspace.call("keys").out == f"QUANTALPHA_TRUSTED_KEYS={trusted}\n"
