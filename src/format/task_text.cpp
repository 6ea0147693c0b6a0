#include "format/task_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "format/duration.hpp"
#include "format/escape.hpp"

namespace pyscope {
namespace {

constexpr std::size_t kMostNamedTasks = 4;
constexpr std::size_t kMostTaskNameColumns = 60;

std::string magnitude(std::int64_t us) {
  return format_duration(us < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(us)
                                : static_cast<std::uint64_t>(us));
}

/// What is waited for, without what is known of others.
std::string object_of(const TaskWait& wait) {
  std::string text = escape(wait.type);
  if (!wait.name.empty()) text += (text.empty() ? "" : " ") + escape(wait.name);
  if (wait.name.empty() && wait.address != 0) text += fmt::format(" {:#x}", wait.address);
  if (!wait.detail.empty()) text += " (" + escape(wait.detail) + ")";
  return text;
}

}  // namespace

bool is_chosen(const SuspendedStack& task, std::span<const std::string> chosen) {
  return chosen.empty() || std::any_of(chosen.begin(), chosen.end(), [&](const std::string& one) {
           return one == task.name || one == fmt::format("{:#x}", task.id) ||
                  one == std::to_string(task.id);
         });
}

std::string task_label(const SuspendedStack& task) {
  return task.name.empty() ? fmt::format("task {:#x}", task.id)
                           : clip(escape(task.name), kMostTaskNameColumns);
}

TaskTexts::TaskTexts(const Snapshot& snapshot) {
  for (const SuspendedStack& task : snapshot.stacks)
    by_id_.emplace(task.id, &task);
}

const SuspendedStack* TaskTexts::find(std::uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::string TaskTexts::label(std::uint64_t id) const {
  const SuspendedStack* task = find(id);
  return task != nullptr ? task_label(*task) : fmt::format("task {:#x}", id);
}

std::string TaskTexts::labels(std::span<const std::uint64_t> ids) const {
  std::string text;
  for (std::size_t i = 0; i < std::min(ids.size(), kMostNamedTasks); ++i)
    text += (i > 0 ? ", " : "") + label(ids[i]);
  if (ids.size() > kMostNamedTasks)
    text += fmt::format(" and {} more", ids.size() - kMostNamedTasks);
  return text;
}

std::string TaskTexts::describe(const SuspendedStack& task) const {
  std::string text = task.state;
  if (task.state == "running" && task.mounted_on)
    text += fmt::format(" in thread {}", *task.mounted_on);
  if (task.state == "ready") text = "ready to go on";
  if (task.wait) {
    const TaskWait& wait = *task.wait;
    if (wait.kind == "timer") {
      text = !wait.left_us       ? "sleeping"
             : *wait.left_us < 0 ? "sleeping, overdue for " + magnitude(*wait.left_us)
                                 : "sleeping, " + magnitude(*wait.left_us) + " left";
    } else if (wait.kind == "task") {
      text = "waiting for " + labels(wait.tasks);
      if (!wait.detail.empty()) text += " (" + escape(wait.detail) + ")";
    } else if (wait.kind == "tasks") {
      text = fmt::format("waiting for {}{} task{}: {}", wait.any ? "the first of " : "",
                         wait.tasks.size(), wait.tasks.size() == 1 ? "" : "s", labels(wait.tasks));
      if (wait.tasks.empty()) text = "waiting for its tasks, all of which have ended";
    } else {
      text = summarize_task(task);
    }
    if (!wait.held_by.empty()) {
      text += ", held by " + labels(wait.held_by);
      if (wait.held_by.size() > 1 && wait.kind == "lock") text += " (one of these)";
    }
  }
  if (task.deadline_left_us) {
    text += *task.deadline_left_us < 0
                ? ", its timeout has been over for " + magnitude(*task.deadline_left_us)
                : ", gives up in " + magnitude(*task.deadline_left_us);
  }
  if (task.cancel_requests > 0) {
    text += task.cancel_requests == 1
                ? std::string(", was asked to cancel")
                : fmt::format(", was asked to cancel {} times", task.cancel_requests);
  }
  return text;
}

std::string summarize_task(const SuspendedStack& task) {
  if (!task.wait) return task.state == "ready" ? "ready to go on" : task.state;
  const TaskWait& wait = *task.wait;
  if (wait.kind == "timer") return "sleeping";
  if (wait.kind == "task") return "waiting for another task";
  if (wait.kind == "tasks")
    return wait.any ? "waiting for the first of some tasks" : "waiting for some tasks";
  if (wait.kind == "server") return "serving";
  if (wait.kind == "process")
    return fmt::format("waiting for process {} to end", wait.process.value_or(0));
  if (wait.kind == "executor") {
    return "waiting for a call in an executor" +
           (wait.detail.empty() ? std::string() : " (" + escape(wait.detail) + ")");
  }
  if (wait.kind == "socket") {
    std::string text = "waiting for ";
    text += wait.fd ? fmt::format("descriptor {}", *wait.fd) : std::string("a socket");
    if (!wait.fd && !wait.name.empty()) text += " " + escape(wait.name);
    if (!wait.target.empty()) text += ", " + escape(wait.target);
    if (!wait.detail.empty()) text += " (" + escape(wait.detail) + ")";
    return text;
  }
  const std::string object = object_of(wait);
  return "waiting for " + (object.empty() ? "a " + wait.kind : object);
}

std::string kind_of_task(const SuspendedStack& task) {
  if (!task.wait || task.wait->type.empty()) return summarize_task(task);
  if (task.wait->kind == "future" && task.wait->name.empty()) return "waiting for a future";
  std::string text = "waiting for " + escape(task.wait->type);
  if (!task.wait->name.empty()) text += " " + escape(task.wait->name);
  return text;
}

std::string TaskTexts::describe(const TaskFinding& finding) const {
  std::string text;
  switch (finding.kind) {
    case TaskFinding::Kind::Deadlock: {
      text = finding.tasks.size() == 1
                 ? "Deadlock: a task waits for itself"
                 : fmt::format("Deadlock: {} tasks wait for each other", finding.tasks.size());
      if (finding.ends_in_us)
        text += *finding.ends_in_us < 0
                    ? ", and a timeout that should have ended it is overdue"
                    : ", until a timeout ends it in " + magnitude(*finding.ends_in_us);
      if (finding.ends_on_error) text += ", unless another task that they wait for fails";
      for (std::size_t i = 0; i < finding.tasks.size(); ++i) {
        const SuspendedStack* task = find(finding.tasks[i]);
        if (task == nullptr) continue;
        text += (i == 0 ? ": " : "; ") + task_label(*task) + " is " + describe(*task);
      }
      break;
    }
    case TaskFinding::Kind::BlockedLoop:
      text =
          fmt::format("The event loop is blocked by {}: no events have been asked for since {}",
                      label(finding.tasks.front()), magnitude(finding.loop->busy_us.value_or(0)));
      if (finding.loop->ready.value_or(0) > 0)
        text += fmt::format("; {} can run and have to wait",
                            *finding.loop->ready == 1
                                ? std::string("1 callback")
                                : fmt::format("{} callbacks", *finding.loop->ready));
      break;
  }
  if (!finding.proven) text += " (not verified)";
  return text;
}

}  // namespace pyscope
