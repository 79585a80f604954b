"""What a text in spreadsheets is, by readers of other people's making: a text, and no formula.

usage: spreadsheet_check.py TEXT FILE...      (.csv, .xlsx, or .fods as LibreOffice converts them)
"""

import csv
import sys
import xml.etree.ElementTree as ElementTree

import openpyxl

OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
# Description and attach.
CELLS = 2


def of_csv(path, text):
    with open(path, encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.startswith(text[0]) for cell in cells), cells
    return sum(cell == "'" + text for cell in cells)


def of_xlsx(path, text):
    cells = [cell for sheet in openpyxl.load_workbook(path) for row in sheet.iter_rows() for cell in row]
    assert not any(cell.data_type == "f" for cell in cells), "a formula"
    assert any(cell.data_type == "n" and cell.value == 1234.56 for cell in cells), "amounts are numbers"
    assert any(cell.is_date for cell in cells), "times are dates"
    return sum(cell.data_type == "s" and cell.value == text for cell in cells)


def of_office(path, text):
    cells = ElementTree.parse(path).getroot().iter(TABLE + "table-cell")
    found = 0
    for cell in cells:
        assert cell.get(TABLE + "formula") is None, "a formula"
        if "".join(cell.itertext()).strip().lstrip("'") == text.lstrip("'"):
            assert cell.get(OFFICE + "value-type") == "string", cell.attrib
            found += 1
    return found


READERS = {"csv": of_csv, "xlsx": of_xlsx, "fods": of_office}

text = sys.argv[1]
for path in sys.argv[2:]:
    found = READERS[path.rsplit(".", 1)[1]](path, text)
    assert found == CELLS, f"{path}: {found} cells"
