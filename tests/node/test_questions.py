"""What a template provider is asked next: life once a minute, and transactions, of the newest template first."""

from __future__ import annotations

from tests.node.test_kepttransactions import template_with
from tests.sv2.templates import raw_transactions
from warppool.mining.template import Template
from warppool.node.questions import AGAIN_S, DATA_TIMEOUT_S, LIFE_TIMEOUT_S, MOST_WANTED, REST, Questions
from warppool.sv2.templateclient import NO_TEMPLATE

RAWS = raw_transactions(2)


def template(template_id: int, height: int = 5) -> Template:
    return template_with(RAWS, template_id, height)


def fresh() -> Questions:
    questions = Questions(60.0)
    questions.reset(0.0)
    return questions


def test_life_is_asked_for_a_minute_after_the_last_sign_of_it():
    questions = fresh()
    assert questions.next(59.0) is None and questions.due_at() == 60.0
    assert questions.next(60.0) == NO_TEMPLATE
    assert questions.next(130.0) is None                    # one at a time
    assert questions.is_late(60.0 + LIFE_TIMEOUT_S) and not questions.is_late(60.0 + LIFE_TIMEOUT_S - 1)
    questions.answered(NO_TEMPLATE, 70.0)
    assert not questions.is_late(1000.0)
    assert questions.next(119.0) is None
    questions.want(template_with((), 9), 119.0)             # a template is a sign, too
    assert questions.next(178.0) is None
    assert questions.next(179.0) == NO_TEMPLATE


def test_the_newest_template_comes_first_and_each_has_its_answer():
    questions = fresh()
    for number in (1, 2):
        questions.want(template(number), 1.0)
    assert questions.next(1.0) == 2
    assert questions.is_late(1.0 + DATA_TIMEOUT_S)
    questions.want(template(3), 2.0)
    assert questions.answered(2, 3.0) == template(2)
    assert [questions.next(4.0), questions.answered(3, 5.0), questions.next(5.0)] == [3, template(3), 1]
    assert questions.answered(1, 6.0) == template(1) and questions.next(6.0) is None
    assert questions.answered(1, 7.0) is None


def test_what_is_refused_for_a_reason_that_may_pass_is_asked_for_again_later():
    questions = fresh()
    questions.want(template(1), 1.0)
    assert questions.next(1.0) == 1
    assert questions.answered(1, 2.0, is_final=False) == template(1)
    assert questions.next(2.0) is None and questions.due_at() == 2.0 + AGAIN_S
    assert questions.next(2.0 + AGAIN_S) == 1


def test_of_many_the_newest_are_wanted_and_none_of_another_height():
    questions = fresh()
    for number in range(1, 3 * MOST_WANTED):
        questions.want(template(number), 1.0)
    assert len(questions._wanted) == MOST_WANTED
    questions.want(template(999, height=6), 2.0)
    questions.forget(6)
    assert list(questions._wanted) == [999]
    questions.reset(3.0)
    assert questions.next(3.0) is None


def test_whole_templates_are_not_asked_for():
    questions = fresh()
    questions.want(template_with((), 1), 1.0)
    assert questions.next(1.0) is None


def test_one_with_ever_new_transactions_has_a_fifth_of_our_time():
    questions, now, read_s = fresh(), 0.0, 0.0
    for number in range(1, 500):
        questions.want(template(number), now)
        if (template_id := questions.next(now)) is not None:
            questions.answered(template_id, now)
            now += 0.5
            read_s += 0.5
            questions.rest(0.5, now)
        now += 0.1
    assert read_s / now <= 1 / (1 + REST) + 0.01
