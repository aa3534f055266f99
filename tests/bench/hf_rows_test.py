"""The peers of bench/training read every text that Rung reads."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "training"))

import hf_rows  # noqa: E402


class HfRowsTest(unittest.TestCase):
    def test_a_long_text_is_read_whole(self):
        def lengths(texts, **unused):
            return {"input_ids": [[len(text)] for text in texts], "attention_mask": [[1] for _ in texts]}

        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "rows.csv")
            with open(path, "w", encoding="utf-8") as file:
                file.write('sentence,label\n"' + "a\n" * 100_000 + '",1\nb,0\n')
            rows = hf_rows.encoded(lengths, path, max_length=128)
        self.assertEqual([(row["input_ids"], row["labels"]) for row in rows], [([200_000], 1), ([1], 0)])


if __name__ == "__main__":
    unittest.main()
