"""ES modules become one script that keeps their names apart."""

from __future__ import annotations

import pytest

from omnitrace.report.modules import link


def linked(**files: str) -> str:
    return link("main", lambda name: files[name.replace("-", "_")])


def test_modules_are_called_once_in_the_order_of_their_needs() -> None:
    script = linked(
        main='import { a } from "./one.js";\nimport {\n  b,\n} from "./a-two.js";\na(b);\n',
        one='import { b } from "./a-two.js";\nexport function a() {\n  return b;\n}\n',
        a_two="const hidden = 1;\nexport const b = hidden;\nexport class C {}\n",
    )
    first, second, last = (
        script.index(f"const ${name} = (() => {{") for name in ("a_two", "one", "main")
    )
    assert first < second < last
    assert script.count("const hidden") == 1
    assert "return {b, C};" in script
    assert "const { a } = $one;" in script
    assert "const {\n  b,\n} = $a_two;" in script
    assert "import" not in script
    assert "export" not in script


def test_what_cannot_be_linked_is_refused() -> None:
    with pytest.raises(ValueError, match="main > other > main"):
        linked(main='import { a } from "./other.js";\n', other='import { b } from "./main.js";\n')
    for form in ('import a from "./a.js";', "export default 1;", 'export * from "./a.js";'):
        with pytest.raises(ValueError, match=r"main\.js: cannot link"):
            linked(main=f"{form}\n")
