"""What a command may say about a mistake."""


def assert_one_line(result, *words):
    code, _, message = result
    assert code != 0
    assert message.count("\n") <= 1
    assert message.startswith("lycb: ")
    for word in words:
        assert word in message
