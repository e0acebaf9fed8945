from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_openai import ChatOpenAI

from langchain_avengers.errors import PoolError
from langchain_avengers.pool import ModelSpec, Pool, Price
from langchain_avengers.providers import redact


def write(folder: Path, text: str) -> Path:
    path = folder / "pool.yaml"
    path.write_text(text)
    return path


def test_a_pool_by_name_and_as_a_list_are_the_same(tmp_path: Path) -> None:
    by_name = Pool.read(
        write(tmp_path, "models:\n  a: {price: {input: 1, output: 2}}\n  b: {max_concurrency: 3}\n")
    )
    as_list = Pool.read(
        write(tmp_path, "models:\n- {name: a, price: {input: 1, output: 2}}\n- {name: b, max_concurrency: 3}")
    )
    assert dict(by_name) == dict(as_list)
    assert list(by_name) == ["a", "b"]
    assert by_name.prices == {"a": Price(input=1, output=2)}
    assert by_name.prices["a"].cost(1_000_000, 500_000) == 2.0


def test_models_are_built_with_the_key_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret-1")
    text = "models: {a: {model: m, base_url: 'http://[::1]:1/v1', api_key_env: MY_KEY, max_tokens: 9, temperature: 0}}"
    model = Pool.read(write(tmp_path, text)).models["a"]
    assert isinstance(model, ChatOpenAI)
    assert model.openai_api_key.get_secret_value() == "sk-very-secret-1"  # type: ignore[union-attr]
    assert (model.model_name, model.temperature, model.max_tokens) == ("m", 0, 9)
    assert "secret" not in repr(Pool.read(tmp_path / "pool.yaml")["a"]) + repr(model)


def test_a_missing_key_is_named_only_when_the_model_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    pool = Pool.read(write(tmp_path, "models: {a: {api_key_env: NO_SUCH_KEY}}"))
    with pytest.raises(PoolError, match="'a': environment variable NO_SUCH_KEY is not set"):
        _ = pool.models


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "non-empty `models:`"),
        ("models: []", "non-empty `models:`"),
        ("models: {a: 3}", "model 'a': must be a mapping"),
        ("models: {a: {max_concurrency: 0}}", "model 'a': max_concurrency: Input should be greater"),
        ("models: {a: {price: {input: -1, output: 1}}}", "model 'a': price.input"),
        ("models: [{name: a}, {name: a}]", "'a' stands twice"),
        ("models: [{model: m}]", "entry 1.*name: Field required"),
        ("models: {a: {options: {api_key: sk-123456}}}", "api_key must not stand in a file"),
        ("models:\n  a: [sk-leaked\n", "line 3: is not YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_file_and_entry(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PoolError, match=says) as caught:
        Pool.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("field", ["api_key", "api_key_env"])
def test_a_key_that_stands_in_the_file_is_refused_and_not_repeated(tmp_path: Path, field: str) -> None:
    with pytest.raises(PoolError) as caught:
        Pool.read(write(tmp_path, f"models: {{a: {{{field}: sk-should-not-be-shown}}}}"))
    assert "should-not-be-shown" not in str(caught.value)


def test_missing_file_and_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="cannot be read: No such file"):
        Pool.read(tmp_path / "none.yaml")
    with pytest.raises(PoolError, match="no model 'x' in the pool; it has a"):
        Pool([ModelSpec(name="a")]).select(["x"])


def test_an_unknown_provider_is_a_pool_error(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="model 'a'"):
        _ = Pool.read(write(tmp_path, "models: {a: {provider: no-such-provider}}")).models


def test_header_query_and_url_secrets_of_a_pool_are_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """models:
  a:
    base_url: "http://user:url-pass-77@127.0.0.1:1/v1"
    options:
      default_headers: {X-Team-Auth: header-secret-1, X-Title: my app}
      default_query: {code: query-secret-2}
"""
    pool = Pool.read(write(tmp_path, text))
    _ = pool.models
    shown = f"{pool} {dict(pool)} {pool['a']!s} {list(pool.values())}"
    for secret in ("url-pass-77", "header-secret-1", "query-secret-2"):
        assert secret not in shown
        assert secret not in redact(f"the server said {secret}")
    assert "my app" in shown


def test_a_key_given_as_the_name_of_its_variable_is_not_printed(tmp_path: Path) -> None:
    for key in ("AKIAIOSFODNN7EXAMPLE", "sk_live_51HabcdEFgh", "abcdef0123456789abcdef"):
        pool = Pool.read(write(tmp_path, f"models: {{a: {{api_key_env: {key}}}}}"))
        with pytest.raises(
            PoolError, match="environment variable that api_key_env names is not set"
        ) as caught:
            _ = pool.models
        assert key not in str(caught.value)


def nested(levels: int) -> str:
    return "models: " + "[" * levels


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("models: {a: {}}".encode("utf-16"), "not UTF-8 text"),
        (b"models: {a: {model: \xff\xfe}}", "not UTF-8 text"),
        (nested(4000).encode(), "nested deeper than 20 levels"),
        (BOMB.encode() + b"models: {a: {capabilities: *a11}}", "more than 100000 values"),
        (MERGED.encode() + b"models: {a: {options: *a39}}", "more than 100000 values"),
        (b"models: &m {a: *m}", "stands for something that holds it"),
        (b"x" * (2**20 + 1), "larger than 1 MB"),
        (b"models: {a: {timeout: .inf}}", "timeout"),
        (b"models: {a: {timeout: .nan}}", "timeout"),
        (b"models: {a: {price: {input: .inf, output: 1}}}", "price.input"),
        (b"models: {a: {max_tokens: " + b"9" * 5000 + b"}}", "cannot read|max_tokens"),
        (b"models: {a: {max_concurrency: 0x" + b"f" * 5000 + b"}}", "max_concurrency"),
        (b"models:\n  ? 0x" + b"f" * 5000 + b"\n  : {}", "name"),
        (b"models: {2001-99-99: {}}", "cannot read"),
        (b"models: {? [a] : {}}", "not YAML"),
        (b'models: {a: {model: "\\ud83d"}}', "model"),
        (b"models: {a: {base_url: {b: c}}}", "base_url"),
        (b"models: {a: !!python/object:os.system {}}", "not YAML"),
        (b"models: \x00", "not YAML"),
        (b"a: 1\n---\nmodels: {a: {}}", "not YAML|non-empty"),
    ],
)
def test_a_hostile_file_is_one_line_in_bounded_time(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "pool.yaml"
    path.write_bytes(data)
    with pytest.raises(PoolError, match=says) as caught:
        Pool.read(path)
    assert len(str(caught.value)) < 400 + len(str(path))
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(alphabet="[]{}:,&*!?|>-<=\"'#%@` \nab01", max_size=200).map(str.encode)
)
def test_any_bytes_are_a_pool_or_a_pool_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.yaml"
        for whole in (data, b"models: {a: {" + data + b"}}", b"models:\n  a:\n    options: " + data):
            path.write_bytes(whole)
            with contextlib.suppress(PoolError):
                Pool.read(path)
