"""Which source gets which models and destinations."""

from __future__ import annotations

from dataclasses import replace

from cxrnode.domain.delivery import Destination
from cxrnode.domain.identity import AETitle
from cxrnode.domain.routing import SENDER, Rule, route
from cxrnode.domain.study import Sender

PACS = Destination(name="pacs", ae_title=AETitle("PACS"), host="h", port=104)
BACK = replace(PACS, name="back", ae_title=AETitle("CR1"))
FROM_CR1 = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="10.0.0.7", association="a")
MODELS = ("lungs", "opacity")


def _route(*rules: Rule, sender: Sender = FROM_CR1) -> tuple[tuple[str, ...], list[str]]:
    chosen = route(sender, rules, MODELS, (PACS, BACK))
    return chosen.models, [destination.name for destination in chosen.destinations]


def test_the_first_rule_that_matches_decides() -> None:
    """Later rules are not looked at."""
    assert _route(Rule(calling_ae="CT*"), Rule(calling_ae="CR?", destinations=("pacs",)), Rule()) == (MODELS, ["pacs"])


def test_a_rule_may_look_at_the_called_title_and_cares_for_case() -> None:
    """AE titles are case sensitive (PS3.5 6.2)."""
    assert _route(Rule(called_ae="OTHER", destinations=("pacs",)))[1] == []
    assert _route(Rule(calling_ae="cr1", destinations=("pacs",)))[1] == []
    assert _route(Rule(calling_ae="CR1", called_ae="CXR*", destinations=("pacs",)))[1] == ["pacs"]


def test_without_a_rule_that_matches_all_models_run_and_nothing_is_sent() -> None:
    """The evidence is kept."""
    assert _route(Rule(calling_ae="CT*", destinations=("pacs",))) == (MODELS, [])
    assert _route() == (MODELS, [])


def test_models_keep_the_order_in_which_they_are_enabled() -> None:
    """A rule only chooses."""
    assert _route(Rule(models=("opacity", "lungs")))[0] == MODELS
    assert _route(Rule(models=("opacity", "no longer enabled")))[0] == ("opacity",)


def test_return_to_sender_is_a_configured_destination_and_never_twice() -> None:
    """@sender is who called, if it is a destination; naming it as well sends once."""
    assert _route(Rule(destinations=(SENDER,)))[1] == ["back"]
    assert _route(Rule(destinations=("back", SENDER)))[1] == ["back"]
    assert _route(Rule(destinations=(SENDER,)), sender=replace(FROM_CR1, calling_ae=AETitle("CT9")))[1] == []
