"""The encyclopedia is sound, and its questions ask for more than a place or a kind."""

import collections
import re

import pytest

from lamb_keras.data.text import encyclopedia, wordpiece

MADE = encyclopedia.generate(seed=3, articles=400, dev_articles=80)


def asked(part):
    """(context, question, answer, start) of every question."""
    return [
        (paragraph["context"], qa["question"], answer["text"], answer["answer_start"])
        for article in part["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
        for answer in qa["answers"]
    ]


TRAIN, DEV = asked(MADE.train), asked(MADE.dev)
QUESTIONS = {
    re.escape(question).replace(r"\{s\}", "(?P<subject>[A-Z][a-z]+)"): relation
    for relation in encyclopedia.RELATIONS
    for question in relation.questions
}
STATEMENTS = {
    relation: [
        re.escape(statement)
        .replace(r"\{s\}", "(?P<subject>[A-Z][a-z]+)")
        .replace(r"\{v\}", "(?P<value>[A-Za-z0-9]+)")
        for statement in relation.statements
    ]
    for relation in encyclopedia.RELATIONS
}


def question_of(question):
    """(relation, subject)."""
    ((relation, match),) = [
        (relation, match)
        for pattern, relation in QUESTIONS.items()
        if (match := re.fullmatch(pattern, question))
    ]
    return relation, match["subject"]


def told(sentence, relation):
    """{(subject, value)} that the sentence tells in that relation, one or none."""
    matches = (re.fullmatch(form, sentence) for form in STATEMENTS[relation])
    return {(match["subject"], match["value"]) for match in matches if match}


def sentences(context):
    return re.findall(r"[^.]+\.", context.replace(". ", "."))


def names(part):
    stems = "|".join(encyclopedia._STEMS)
    endings = "|".join(" ".join(encyclopedia._ENDINGS.values()).split())
    name = re.compile(rf"\b(?:{stems})(?:{endings})\b")
    return {
        found
        for article in part["data"]
        for paragraph in article["paragraphs"]
        for found in name.findall(paragraph["context"])
    }


def test_the_answers_stand_where_they_are_said_to():
    assert len(TRAIN) == 400 * 2 * 3 and len(DEV) == 80 * 2 * 3
    for context, _, answer, start in TRAIN + DEV:
        assert context[start : start + len(answer)] == answer
        assert context.count(answer) == 1


def test_the_answer_is_what_the_paragraph_tells_of_the_subject():
    for context, question, answer, _ in DEV:
        relation, subject = question_of(question)
        facts = set().union(*(told(each, relation) for each in sentences(context)))
        assert len(facts) == encyclopedia.SUBJECTS
        assert dict(facts)[subject] == answer


def test_names_of_the_dev_articles_are_in_no_training_article():
    train, dev = names(MADE.train), names(MADE.dev)
    assert len(train) > 800 and len(dev) > 200
    assert not train & dev
    assert not names(encyclopedia.generate(4, 400).train) & dev


def test_but_their_stems_and_endings_are():
    train, dev = names(MADE.train), names(MADE.dev)
    for cut in (lambda name: name[:2], lambda name: name[-2:]):
        assert set(map(cut, dev)) <= set(map(cut, train))


def test_identifiers_are_unique_and_titles_are_of_training_or_dev_alone():
    ids, titles = [], []
    for part in (MADE.train, MADE.dev):
        titles.append({article["title"] for article in part["data"]})
        for article in part["data"]:
            for paragraph in article["paragraphs"]:
                ids += [qa["id"] for qa in paragraph["qas"]]
    assert len(set(ids)) == len(ids)
    assert not titles[0] & titles[1]


def test_every_fact_is_told_twice_in_different_words():
    for document in MADE.documents[:50]:
        facts = collections.Counter(
            (relation, *fact)
            for sentence in document.sentences
            for relation in encyclopedia.RELATIONS
            for fact in told(sentence, relation)
        )
        assert len(facts) == 12 and set(facts.values()) == {2}
        statements = [each for each in document.sentences if each.endswith(".")]
        assert len(set(statements)) == len(statements) == 24


def test_some_facts_in_an_article_follow_on_a_question():
    questions = [
        (document.sentences[i], document.sentences[i + 1])
        for document in MADE.documents
        for i in range(len(document.sentences) - 1)
        if document.sentences[i].endswith("?")
    ]
    assert 700 < len(questions) < 900  # 4800 facts, a sixth of them
    for question, answer in questions[:100]:
        relation, subject = question_of(question)
        assert subject in dict(told(answer, relation))


def test_the_same_arguments_give_the_same_and_another_seed_another():
    assert encyclopedia.generate(seed=3, articles=400, dev_articles=80) == MADE
    other = encyclopedia.generate(seed=4, articles=400, dev_articles=80)
    assert not set(other.documents) & set(MADE.documents)
    assert other.dev != MADE.dev


def test_a_larger_one_begins_with_the_smaller_one():
    small = encyclopedia.generate(seed=3, articles=40, question_articles=9)
    assert small.documents == MADE.documents[:40]
    assert small.train["data"] == MADE.train["data"][:9]
    assert len(small.dev["data"]) == 4


def exact(answers):
    """The part of the dev questions that are answered so."""
    return sum(
        a == answer for a, (_, _, answer, _) in zip(answers, DEV, strict=True)
    ) / len(DEV)


def test_no_place_in_the_paragraph_is_a_good_answer():
    for place in range(6):
        answers = []
        for context, _, _, _ in DEV:
            sentence = sentences(context)[place]
            values = {
                value
                for relation in encyclopedia.RELATIONS
                for _, value in told(sentence, relation)
            }
            answers.append(values.pop())
        assert exact(answers) < 0.25  # one in six, and the noise of 480 questions


def test_the_question_alone_is_no_help():
    most = collections.defaultdict(collections.Counter)
    for _, question, answer, _ in TRAIN:
        most[question_of(question)[0]][answer] += 1
    answers = [
        most[question_of(question)[0]].most_common(1)[0][0] for _, question, *_ in DEV
    ]
    assert exact(answers) < 0.1


@pytest.mark.parametrize("place", range(encyclopedia.SUBJECTS))
def test_the_kind_of_answer_leaves_three_to_guess_from(place):
    answers = []
    for context, question, _, _ in DEV:
        relation, _ = question_of(question)
        facts = [fact for each in sentences(context) for fact in told(each, relation)]
        answers.append(facts[place][1])
    assert exact(answers) < 0.42  # a third; the noise's deviation is 0.02


def test_question_and_paragraph_fit_64_pieces_of_a_small_vocabulary():
    vocabulary = wordpiece.train(MADE.documents, 1000)
    texts = [f"{question} {context}" for context, question, *_ in TRAIN + DEV]
    lengths = list(map(len, vocabulary.encode_all(texts)))
    assert max(lengths) + 3 <= 64  # [CLS] and two [SEP]
    assert not any(vocabulary.unk in ids for ids in vocabulary.encode_all(texts))
