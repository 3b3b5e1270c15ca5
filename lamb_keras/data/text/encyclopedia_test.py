"""The encyclopedia is sound, and its questions ask for more than a place or a kind."""

import collections
import hashlib
import itertools
import re

import pytest

from lamb_keras.data.text import encyclopedia, wordpiece

TRAIN = encyclopedia.articles("train", 3, 400)
DEV = encyclopedia.articles("dev", 3, 80)


def asked(articles):
    """(context, question, answer, start) of every question."""
    return [
        (each.context, each.question, *each.answers[0])
        for article in articles
        for each in article.questions
    ]


TRAIN_ASKED, DEV_ASKED = asked(TRAIN), asked(DEV)
SUBJECT, VALUE = "(?P<subject>[A-Z][a-z]+)", "(?P<value>[A-Za-z0-9]+)"


def pattern(template):
    escaped = re.escape(template)
    return escaped.replace(r"\{s\}", SUBJECT).replace(r"\{v\}", VALUE)


QUESTIONS = [
    (number, re.compile(pattern(question)))
    for number, relation in enumerate(encyclopedia.RELATIONS)
    for question in relation.questions
]
STATEMENTS = [
    [re.compile(pattern(each)) for each in relation.statements]
    for relation in encyclopedia.RELATIONS
]


def question_of(question):
    """(number of the relation, subject)."""
    ((number, match),) = [
        (number, match)
        for number, form in QUESTIONS
        if (match := form.fullmatch(question))
    ]
    return number, match["subject"]


def stated(sentence, relation):
    """{(subject, value)} that the sentence states in that relation, one or none."""
    matches = (form.fullmatch(sentence) for form in STATEMENTS[relation])
    return {(match["subject"], match["value"]) for match in matches if match}


def sentences(context):
    return re.findall(r"[^.]+\.", context.replace(". ", "."))


def names(articles):
    stems = "|".join(encyclopedia.STEMS)
    endings = "|".join(sum(encyclopedia.ENDINGS.values(), []))
    name = re.compile(rf"\b(?:{stems})(?:{endings})\b")
    return {found for context, *_ in asked(articles) for found in name.findall(context)}


def test_the_answers_stand_where_they_are_said_to():
    assert len(TRAIN_ASKED) == 400 * 2 * 3 and len(DEV_ASKED) == 80 * 2 * 3
    for context, _, answer, start in TRAIN_ASKED + DEV_ASKED:
        assert context[start : start + len(answer)] == answer
        # "lute" is in "flute", too.
        assert re.search(rf"\b{answer}\b", context).start() == start


def test_the_answer_is_what_the_paragraph_states_of_the_subject():
    for context, question, answer, _ in DEV_ASKED:
        relation, subject = question_of(question)
        facts = set().union(*(stated(each, relation) for each in sentences(context)))
        assert len(facts) == encyclopedia.SUBJECTS
        assert dict(facts)[subject] == answer


def test_dev_names_are_new_combinations_of_known_stems_and_endings():
    train, dev = names(TRAIN), names(DEV)
    assert len(train) > 800 and len(dev) > 200
    assert not train & dev
    assert not names(encyclopedia.articles("train", 4, 100)) & dev
    for part in (slice(2), slice(-2, None)):
        assert {name[part] for name in dev} <= {name[part] for name in train}


def test_every_fact_is_stated_twice_in_different_words():
    for document, _ in TRAIN[:50]:
        facts = collections.Counter(
            (relation, *fact)
            for sentence in document.sentences
            for relation in range(len(encyclopedia.RELATIONS))
            for fact in stated(sentence, relation)
        )
        assert len(facts) == 12 and set(facts.values()) == {2}
        statements = [each for each in document.sentences if each.endswith(".")]
        assert len(set(statements)) == len(statements) == 24


def test_some_facts_in_an_article_follow_on_a_question():
    questions = [
        pair
        for document, _ in TRAIN
        for pair in itertools.pairwise(document.sentences)
        if pair[0].endswith("?")
    ]
    assert 700 < len(questions) < 900  # 4800 facts, a sixth of them
    for question, answer in questions[:100]:
        relation, subject = question_of(question)
        assert subject in dict(stated(answer, relation))


def test_more_articles_begin_with_fewer_and_another_seed_makes_others():
    assert encyclopedia.articles("train", 3, 40) == TRAIN[:40]
    assert not set(names(encyclopedia.articles("dev", 4, 2))) & names(DEV[:2])


def test_the_generated_text_stays_what_results_were_made_with():
    """Made by hand once: a change of any word or draw changes all results."""
    content = repr([(tuple(d), q) for d, q in TRAIN[:40] + DEV[:10]])
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "1d266a49bb187290"


def exact(answers):
    """The fraction of the dev questions that are answered so."""
    pairs = zip(answers, DEV_ASKED, strict=True)
    return sum(a == answer for a, (_, _, answer, _) in pairs) / len(DEV_ASKED)


def test_no_place_in_the_paragraph_is_a_good_answer():
    for place in range(6):
        answers = []
        for context, *_ in DEV_ASKED:
            sentence = sentences(context)[place]
            (fact,) = set().union(
                *(stated(sentence, n) for n in range(len(STATEMENTS)))
            )
            answers.append(fact[1])
        assert exact(answers) < 0.25  # one in six, and the noise of 480 questions


def test_the_question_alone_is_no_help():
    most = collections.defaultdict(collections.Counter)
    for _, question, answer, _ in TRAIN_ASKED:
        most[question_of(question)[0]][answer] += 1
    answers = [
        most[question_of(question)[0]].most_common(1)[0][0]
        for _, question, *_ in DEV_ASKED
    ]
    assert exact(answers) < 0.1


@pytest.mark.parametrize("place", range(encyclopedia.SUBJECTS))
def test_the_kind_of_answer_leaves_three_to_guess_from(place):
    answers = []
    for context, question, _, _ in DEV_ASKED:
        relation, _ = question_of(question)
        facts = [fact for each in sentences(context) for fact in stated(each, relation)]
        answers.append(facts[place][1])
    assert exact(answers) < 0.42  # a third; the noise's deviation is 0.02


def test_question_and_paragraph_fit_64_pieces_of_a_small_vocabulary():
    vocabulary = wordpiece.train([document for document, _ in TRAIN], 1000)
    texts = [
        f"{question} {context}" for context, question, *_ in TRAIN_ASKED + DEV_ASKED
    ]
    encoded = [vocabulary.encode(text)[0] for text in texts]
    assert max(map(len, encoded)) + 3 <= 64  # [CLS] and two [SEP]
    assert not any(vocabulary.specials.unk in ids for ids in encoded)
