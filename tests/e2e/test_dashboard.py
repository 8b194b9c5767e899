"""packaging/grafana/popframe.json: Grafana can read it, and what it asks for is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from popframe.testing import MailSite

from .stats_site import address_of, configure, scrape

pytestmark = pytest.mark.checkout

DASHBOARD = Path(__file__).parents[2] / "packaging" / "grafana" / "popframe.json"

GIVEN_BY_PROMETHEUS = {"job", "instance"}
"""Labels that a scrape does not have: Prometheus says with them what it has scraped."""

VARIABLES = {"$__rate_interval": "5m", "$__range": "6h", "$job": ".*", "$instance": ".*"}
"""What Grafana puts into a query, and something for each that it could be."""

GRID_COLUMNS = 24
"""Of Grafana's grid; a panel beyond is not shown as it is meant."""


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    """Return the file."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return loaded


def queries(dashboard: dict[str, Any]) -> list[str]:
    """Return every query of the panels."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def parsed(query: str) -> promql_parser.Expr:
    """Return a query as Prometheus would read it."""
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    assert "$" not in query
    return promql_parser.parse(query)


def parts(expression: object) -> Iterator[object]:
    """Yield an expression and everything that it is made of."""
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(expression, name, None)) is not None:
            yield from parts(inner)
    for argument in getattr(expression, "args", ()):
        yield from parts(argument)


def test_has_what_grafana_needs(dashboard: dict[str, Any]) -> None:
    """No number of a database, a fixed identity, and a version of the format that has all that is used."""
    assert "id" not in dashboard
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", dashboard["uid"])
    assert dashboard["title"]
    assert dashboard["schemaVersion"] >= 36  # since then a data source is an object
    assert dashboard["time"].keys() == {"from", "to"}


def test_panels_are_complete_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    """Each has a name, an explanation, a place, and queries with a name each."""
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= GRID_COLUMNS
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in panels)
    ]

    assert not any(one & other for one, other in combinations(cells, 2))


def test_data_source_is_chosen_by_the_reader(dashboard: dict[str, Any]) -> None:
    """Nothing names one of a certain Grafana."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    asked = [variable for variable in variables.values() if variable["type"] == "query"]
    asking = [*dashboard["panels"], *(target for panel in dashboard["panels"] for target in panel["targets"]), *asked]

    assert [one["datasource"] for one in asking] == [source] * len(asking)
    assert {name for query in queries(dashboard) for name in re.findall(r"\$([a-z]\w*)", query)} <= variables.keys()


def test_every_metric_and_label_is_in_a_real_scrape(dashboard: dict[str, Any], site: MailSite) -> None:
    """Queries are read by a parser of PromQL; no metric is left out of the dashboard either."""
    configure(site)
    server = site.start()
    found = [sample for family in parse_text(scrape(address_of(server), "text/plain")) for sample in family.samples]
    labels = {sample.name: set(sample.labels) | GIVEN_BY_PROMETHEUS for sample in found}
    used = set()
    for query in queries(dashboard):
        expression = parsed(query)
        selectors = [part for part in parts(expression) if isinstance(part, promql_parser.VectorSelector)]
        assert selectors
        for selector in selectors:
            assert selector.name in labels, query
            used.add(selector.name)
            assert {matcher.name for matcher in selector.matchers.matchers} <= labels[selector.name], query
        for part in parts(expression):
            if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
                names = [one.name or "" for one in parts(part) if isinstance(one, promql_parser.VectorSelector)]
                assert all(set(part.modifier.labels) <= labels[name] for name in names), query
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["definition"])
            assert asked is not None
            assert asked[2] in labels[asked[1]]
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in labels}

    assert {re.sub(r"_bucket$", "", name) for name in used} == families


def test_values_of_labels_that_are_asked_for_exist(dashboard: dict[str, Any], site: MailSite) -> None:
    """A misspelt action would show an empty panel."""
    configure(site)
    server = site.start()
    text = scrape(address_of(server), "text/plain")
    wanted = {
        (matcher.name, matcher.value)
        for query in queries(dashboard)
        for selector in parts(parsed(query))
        if isinstance(selector, promql_parser.VectorSelector)
        for matcher in selector.matchers.matchers
        if matcher.name not in GIVEN_BY_PROMETHEUS
    }

    assert wanted
    assert [one for one in wanted if f'{one[0]}="{one[1]}"' not in text] == []
