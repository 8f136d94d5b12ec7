"""The highest difficulty of the tips that were mined last, and which of them are not known."""

from warppool.rewards.tips import TIPS, Tips

EASY, HARD, HARDEST = 0x1D00FFFF, 0x1C00FFFF, 0x1B00FFFF


def test_the_hardest_of_the_last_2016_counts_and_no_older_one():
    tips = Tips()
    tips.load([(1000, HARDEST), (1001, HARD)])
    tips.note(1000 + TIPS - 1, EASY)
    assert tips.highest(1000 + TIPS - 1) == HARDEST
    tips.note(1000 + TIPS, EASY)
    assert tips.highest(1000 + TIPS) == HARD
    tips.note(1001 + TIPS, EASY)
    assert tips.highest(1001 + TIPS) == EASY


def test_of_two_tips_of_one_height_the_harder_one_counts():
    tips = Tips()
    for nbits in (EASY, HARD, EASY):
        tips.note(50, nbits)
    assert tips.highest(50) == HARD


def test_heights_that_nobody_told_of_are_missing_down_to_the_first_block():
    tips = Tips()
    for height in (6, 8, 10):
        tips.note(height, EASY)
    assert list(tips.missing(10)) == [9, 7, 5, 4, 3, 2, 1]
    assert tips.missing(1) == []
    assert len(tips.missing(10_000)) == TIPS - 1
