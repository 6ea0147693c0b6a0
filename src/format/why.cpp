// The text and JSON forms of a diagnosis.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "format/duration.hpp"
#include "format/escape.hpp"
#include "format/json_fields.hpp"
#include "format/lock_text.hpp"
#include "format/paint.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

template <class Writer>
class WhyJson : private JsonFields<Writer> {
 public:
  explicit WhyJson(Writer& writer) : JsonFields<Writer>(writer) {}

  void write(const Diagnosis& diagnosis) {
    writer_.StartObject();
    key("schema");
    ascii(kWhySchema);
    id_field("pid", diagnosis.last.pid);
    field("samples", std::uint64_t{diagnosis.samples});
    field("interval_us", diagnosis.interval_us);
    field("duration_us", diagnosis.duration_us);
    field("complete", assess(diagnosis.last).complete);
    if (diagnosis.native_looks > 0) {
      field("native_looks", std::uint64_t{diagnosis.native_looks});
      field("paused_us", diagnosis.paused_us);
    }
    key("threads");
    writer_.StartArray();
    for (const ThreadDiagnosis& thread : diagnosis.threads)
      write(thread);
    writer_.EndArray();
    deadlocks_field(diagnosis.last.deadlocks);
    key("warnings");
    writer_.StartArray();
    for (const std::string& warning : diagnosis.last.warnings)
      text(warning);
    writer_.EndArray();
    writer_.EndObject();
  }

 private:
  using Fields = JsonFields<Writer>;
  using Fields::ascii;
  using Fields::deadlocks_field;
  using Fields::field;
  using Fields::id_field;
  using Fields::key;
  using Fields::text;
  using Fields::text_field;
  using Fields::text_or_null;
  using Fields::writer_;

  void write(const ThreadDiagnosis& thread) {
    writer_.StartObject();
    id_field("tid", thread.tid);
    field("interpreter", thread.interpreter);
    text_or_null("name", thread.name);
    key("verdict");
    if (thread.verdict) {
      ascii(verdict_name(*thread.verdict));
    } else {
      writer_.Null();
    }
    text_field("summary", thread.summary);
    field("samples", std::uint64_t{thread.samples});
    key("evidence");
    writer_.StartArray();
    for (const std::string& sentence : thread.evidence)
      text(sentence);
    writer_.EndArray();
    writer_.EndObject();
  }
};

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

std::string render_text(const Diagnosis& diagnosis, bool color) {
  const Painter painter(color);
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
  const bool several = last.interpreters.size() > 1;
  std::vector<const ThreadDiagnosis*> idle;
  for (const ThreadDiagnosis& thread : diagnosis.threads) {
    if (thread.verdict == Verdict::Idle) {
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
  return json_text(JsonStyle::Pretty, [&](auto& writer) { WhyJson(writer).write(diagnosis); });
}

}  // namespace pyscope
