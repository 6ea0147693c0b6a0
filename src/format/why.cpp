// The text and JSON forms of a diagnosis.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "format/advice.hpp"
#include "format/duration.hpp"
#include "format/escape.hpp"
#include "format/json_parts.hpp"
#include "format/json_writer.hpp"
#include "format/lock_text.hpp"
#include "format/paint.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

void write_json(JsonWriter& json, const Diagnosis& diagnosis) {
  write_subject(json, kWhySchema, diagnosis.last.pid);
  json.field("samples", std::uint64_t{diagnosis.samples});
  json.field("interval_us", diagnosis.interval_us);
  json.field("duration_us", diagnosis.duration_us);
  json.field("complete", assess(diagnosis.last).complete);
  if (diagnosis.native_looks > 0) {
    json.field("native_looks", std::uint64_t{diagnosis.native_looks});
    json.field("paused_us", diagnosis.paused_us);
  }
  json.objects_field("threads", diagnosis.threads, [&](const ThreadDiagnosis& thread) {
    json.id_field("tid", thread.tid);
    json.field("interpreter", thread.interpreter);
    json.text_or_null("name", thread.name);
    json.word_or_null("verdict",
                      thread.verdict ? std::optional(verdict_name(*thread.verdict)) : std::nullopt);
    json.text_field("summary", thread.summary);
    json.field("samples", std::uint64_t{thread.samples});
    json.texts_field("evidence", thread.evidence);
  });
  write_deadlocks(json, diagnosis.last.deadlocks);
  json.list_field("advice", next_steps(diagnosis),
                  [&](const NextStep& step) { json.text(step.command); });
  write_warnings(json, diagnosis.last.warnings);
}

/// A thread's tid and name; which of its stacks is meant where there are several interpreters.
std::string label_of(const ThreadDiagnosis& thread, bool several_interpreters) {
  std::string label = fmt::to_string(thread.tid);
  if (thread.name) label += fmt::format(" \"{}\"", escape(*thread.name));
  if (several_interpreters) label += fmt::format(" (interpreter {})", thread.interpreter);
  return label;
}

/// Appends the threads that wait for work. Many of these are alike, so each kind of wait has one
/// line.
void append_idle(std::string& out, const std::vector<const ThreadDiagnosis*>& idle,
                 bool several_interpreters, const Painter& painter) {
  std::vector<std::pair<std::string, std::vector<const ThreadDiagnosis*>>> groups;
  for (const ThreadDiagnosis* thread : idle) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& known) {
      return known.first == thread->summary;
    });
    if (group == groups.end()) {
      groups.push_back({thread->summary, {thread}});
    } else {
      group->second.push_back(thread);
    }
  }
  for (const auto& [summary, members] : groups) {
    constexpr std::size_t kMostNamed = 6;
    std::string names;
    for (std::size_t i = 0; i < std::min(kMostNamed, members.size()); ++i)
      names += (i > 0 ? ", " : "") + label_of(*members[i], several_interpreters);
    if (members.size() > kMostNamed) {
      names += fmt::format(" and {} more", members.size() - kMostNamed);
    }
    out += members.size() > 1 ? fmt::format("{} threads: ", members.size()) : "Thread ";
    out += names + ": ";
    painter.append(out, Style::Note, escape(summary));
    out += '\n';
  }
}

}  // namespace

std::string render_text(const Diagnosis& diagnosis, const DiagnosisTextOptions& options) {
  const Painter painter(options.color);
  const Snapshot& last = diagnosis.last;
  std::string out;
  for (const Deadlock& deadlock : last.deadlocks) {
    const auto lines = describe_deadlock(last, deadlock);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i == 0) {
        painter.append(out, Style::Error, lines[i]);
      } else {
        out += lines[i];
      }
      out += '\n';
    }
    out += '\n';
  }
  std::string command;
  for (const std::string& word : last.command)
    command += (command.empty() ? "" : " ") + escape(word);
  constexpr std::size_t kMostColumns = 200;
  painter.append(out, Style::Heading,
                 fmt::format("Process {} on {}: {}", last.pid, escape(last.host),
                             clip(command, kMostColumns)));
  const auto time = [](std::int64_t us) {
    return format_duration(static_cast<std::uint64_t>(std::max<std::int64_t>(us, 0)));
  };
  out += fmt::format("\n{} samples in {}, without stopping it", diagnosis.samples,
                     time(diagnosis.duration_us));
  if (diagnosis.native_looks > 0) {
    out += fmt::format("; then threads paused {} times for native frames, for {} at the most",
                       diagnosis.native_looks, time(diagnosis.paused_us));
  }
  out += '\n';
  for (const std::string& warning : last.warnings) {
    painter.append(out, Style::Error, "Warning: " + escape(warning));
    out += '\n';
  }
  append_next_steps(out, next_steps(diagnosis), painter);
  const bool several = last.interpreters.size() > 1;
  std::vector<const ThreadDiagnosis*> idle;
  for (const ThreadDiagnosis& thread : diagnosis.threads) {
    if (thread.verdict == Verdict::Idle && !options.full) {
      idle.push_back(&thread);
      continue;
    }
    out += "\nThread " + label_of(thread, several) + ": ";
    painter.append(out, Style::Function, escape(thread.summary));
    out += '\n';
    for (const std::string& sentence : thread.evidence)
      out += "  " + escape(sentence) + '\n';
  }
  if (!idle.empty()) out += '\n';
  append_idle(out, idle, several, painter);
  return out;
}

std::string render_json(const Diagnosis& diagnosis) {
  return json_document(JsonStyle::Pretty, [&](JsonWriter& json) { write_json(json, diagnosis); });
}

}  // namespace pyscope
