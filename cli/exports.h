// A study as flat files: one row per trial, and a second file with one row per result. Pure functions;
// thread-safe.
#pragma once

#include <string>
#include <vector>

#include "cli/views.h"

namespace rung {

// RFC 4180, UTF-8, header line. Numbers as %.17g; text cells that a spreadsheet would take for a formula
// (starting with = + - @, tab or carriage return) get a ' in front. Config parameters are columns
// "config.NAME", metrics keep their names.
std::string TrialsCsv(const std::vector<v1::TrialRow>& trials, const StudySpec& spec);
std::string ResultsCsv(const std::vector<v1::TrialRow>& trials);

// One JSON object a line, keys as in `-o json`.
std::string TrialsJsonl(const std::vector<v1::TrialRow>& trials);
std::string ResultsJsonl(const std::vector<v1::TrialRow>& trials);

// A text cell, guarded and quoted where needed.
std::string CsvText(const std::string& text);
std::string CsvNumber(double value);

}  // namespace rung
