#include "format/json_parts.hpp"

namespace pyscope {

void write_subject(JsonWriter& json, std::string_view schema, pid_t pid) {
  json.word_field("schema", schema);
  json.id_field("pid", pid);
}

void write_start_time(JsonWriter& json,
                      const std::optional<std::chrono::system_clock::time_point>& started_at) {
  if (started_at) {
    json.word_field("started_at", format_utc(*started_at));
  } else {
    json.field("started_at", nullptr);
  }
}

void write_build(JsonWriter& json, const PythonBuild& build) {
  json.text_unless_empty("version", build.version);
  json.field("free_threaded", build.free_threaded);
  json.field("debug_build", build.debug_build);
}

void write_lock_identity(JsonWriter& json, const LockWait& lock) {
  json.text_field("type", lock.type);
  json.address_field("address", lock.address);
}

void write_servers(JsonWriter& json, const LockWait& lock) {
  if (lock.served_by.empty()) return;
  json.objects_field("served_by", lock.served_by, [&](const LockWait::Server& server) {
    json.id_field("tid", server.tid);
    json.text_or_null("name", server.name);
  });
}

void write_deadlocks(JsonWriter& json, const std::vector<Deadlock>& deadlocks) {
  json.objects_field("deadlocks", deadlocks, [&](const Deadlock& deadlock) {
    if (!deadlock.handlers.empty()) json.text_field("handlers", deadlock.handlers);
    json.objects_field("cycle", deadlock.cycle, [&](const Deadlock::Member& member) {
      json.id_field("tid", member.tid);
      json.object_field("waits_for", [&] { write_lock_identity(json, member.lock); });
      json.id_field("held_by", member.lock.held_by);
      write_servers(json, member.lock);
      if (member.pid != 0) {
        json.id_field("pid", member.pid);
        json.text_field("process", member.process);
        json.text_field("waits", member.waits);
      }
    });
  });
}

void write_warnings(JsonWriter& json, const std::vector<std::string>& warnings) {
  json.texts_field("warnings", warnings);
}

void write_partial_error(JsonWriter& json, std::string_view message) {
  json.object_field("error", [&] {
    json.word_field("code", "partial");
    json.text_field("message", message);
  });
}

void write_error(JsonWriter& json, const Error& error) {
  json.object_field("error", [&] {
    json.word_field("code", error_code(error.kind));
    json.text_field("message", error.message);
    json.text_unless_empty("hint", render_hint(error));
  });
}

}  // namespace pyscope
