// Values at paths: finds where each path leads, and reads it until two readings agree.
#include "session/inspection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_set>

#include "frames/variables.hpp"
#include "memory/page_cache.hpp"
#include "passes/instant.hpp"
#include "values/contents.hpp"
#include "values/decoder.hpp"
#include "values/nearest_names.hpp"
#include "values/object_items.hpp"
#include "values/object_path.hpp"
#include "values/plain_value.hpp"
#include "values/repr.hpp"
#include "values/secrets.hpp"

namespace pyscope {
namespace {

/// What looking at the values may cost. Whoever asks for more than a screen shows gets more.
std::uint64_t work_for(const ValueLimits& limits) {
  // Bound: looks at memory for values of `inspect`, up to `--max-items 10000`
  constexpr std::uint64_t kMostLooks = std::uint64_t{1} << 24U;
  constexpr std::size_t kMany = 10'000;
  return limits.max_items > kMany ? PageCache::kMostWork : kMostLooks;
}

// Bound (bytes): copies of memory for values that `inspect` is asked for
constexpr std::size_t kMostKept = std::size_t{512} << 20U;

/// What is asked for, and what is wrong with it if it can't be understood.
struct Request {
  std::string text;
  Result<ObjectPath> path;
};

bool same(const InspectedItem& a, const InspectedItem& b) {
  return a.name == b.name && a.type == b.type && a.repr == b.repr && a.size == b.size;
}

bool same(const InspectedValue& a, const InspectedValue& b) {
  const auto message = [](const InspectedValue& value) {
    return value.error ? value.error->message : std::string{};
  };
  return message(a) == message(b) && a.address == b.address && a.repr == b.repr &&
         a.type == b.type && a.items.size() == b.items.size() &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [](const InspectedItem& x, const InspectedItem& y) { return same(x, y); });
}

bool may_settle(const Error& error) {
  return error.kind == ErrorKind::Fault || error.kind == ErrorKind::Malformed;
}

/// One reading of all paths.
class Reading {
 public:
  Reading(Session& session, const InspectOptions& options, const Deadline& deadline)
      : session_(session),
        options_(options),
        deadline_(deadline),
        cache_(session.memory(), kMostKept, work_for(options.values)),
        text_budget_{kMostText},
        reader_(cache_, session.runtime().offsets, &text_budget_),
        objects_(reader_) {}

  Result<std::vector<InspectedValue>> read(const std::vector<Request>& requests) {
    const bool frames = std::any_of(requests.begin(), requests.end(), [](const Request& request) {
      return request.path && request.path->in_frame;
    });
    if (auto ok = read_runtime(); !ok) return fail(std::move(ok).error());
    // The GILs are looked at before anything that a thread can change, as frames are.
    const auto gils_before = gils();
    if (frames) {
      if (auto ok = read_stacks(requests); !ok) return fail(std::move(ok).error());
    }
    being_changed_ = find_objects_being_changed(reader_, gils_before);
    std::vector<InspectedValue> values;
    for (const Request& request : requests) {
      const std::size_t failures = cache_.failures();
      InspectedValue& value = values.emplace_back(value_of(request));
      if (cache_.failures() > failures || (request.path && lacks_stacks(*request.path))) {
        doubt(value);
      }
    }
    const auto& interpreters = runtime_.interpreters;
    stood_still_ = gils_before == gils() &&
                   std::all_of(interpreters.begin(), interpreters.end(), [&](const auto& one) {
                     const auto gil = gils_before.find(one.gil.raw());
                     return gil != gils_before.end() && gil->second.locked == 0;
                   });
    return values;
  }

  /// Names the frames that have a variable of a path's first name, if that is no module's name.
  void point_to_frames(const std::vector<Request>& requests, std::vector<InspectedValue>& values) {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const auto& path = requests[i].path;
      if (!values[i].error || !path || path->in_frame) continue;
      if (PathResolver(objects_, runtime_.interpreters.front()).knows_start(*path)) continue;
      if (stacks_.frames.empty() && !read_stacks({})) return;
      const auto places = frames_with(path->steps.front().text, path->text);
      if (places.empty()) continue;
      values[i].error->hint =
          fmt::format("it is a variable of a running function: {}", fmt::join(places, " or "));
    }
  }

  /// Whether a thread may be in the middle of changing one of the objects.
  [[nodiscard]] bool any_half_done() const { return half_done_; }
  /// True if no thread had a GIL during the reading, so that none can have changed anything.
  [[nodiscard]] bool stood_still() const { return stood_still_; }

 private:
  // Bound (bytes): text of values that `inspect` is asked for
  static constexpr std::uint64_t kMostText = std::uint64_t{512} << 20U;

  [[nodiscard]] Gils gils() const {
    return read_gils(session_.memory(), session_.runtime().offsets, runtime_);
  }

  Result<void> read_runtime() {
    auto runtime = read_interpreters(reader_, session_.runtime().at);
    if (!runtime) return fail(std::move(runtime).error());
    runtime_ = *std::move(runtime);
    return {};
  }

  Result<void> read_stacks(const std::vector<Request>& requests) {
    CaptureOptions options;
    options.source = false;
    // If all paths name the same thread, only its stack is read.
    std::vector<std::string> threads;
    bool known = true;
    for (const Request& request : requests) {
      if (!request.path || !request.path->in_frame) continue;
      known = known && !request.path->thread.empty();
      threads.push_back(request.path->thread);
    }
    const bool one = std::all_of(threads.begin(), threads.end(),
                                 [&](const std::string& t) { return t == threads.front(); });
    if (known && one && !threads.empty()) options.threads = {threads.front()};
    const auto read = [&] {
      options.timeout = deadline_.left();
      return session_.snapshot(options, Surroundings::None);
    };
    auto located = read();
    if (!located && located.error().kind == ErrorKind::Usage) {
      // There is no such thread. Among all threads there may be one with a similar name to tell.
      options.threads.clear();
      located = read();
    }
    if (!located) return fail(std::move(located).error());
    stacks_ = *std::move(located);
    runtime_ = stacks_.runtime;
    return {};
  }

  /// Some memory couldn't be read on the way to a value, or of it.
  static void doubt(InspectedValue& value) {
    value.unreadable = true;
    // The part that was missed may lie in the memory that can't be read.
    if (value.error && value.error->kind == ErrorKind::Usage) {
      value.error =
          Error{ErrorKind::Fault,
                fmt::format("{} can't be found: some of the memory on the way to it can't "
                            "be read",
                            value.path),
                "try again: what changes at the moment may look so"};
    }
  }

  /// Whether the path may mean a thread or frame that couldn't be read.
  [[nodiscard]] bool lacks_stacks(const ObjectPath& path) const {
    if (!path.in_frame) return false;
    if (!stacks_.snapshot.capture.complete) return true;
    std::optional<std::size_t> one;
    if (const auto found = find_thread(path); found && !path.thread.empty()) one = *found;
    const auto& threads = stacks_.snapshot.threads;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      if (one && i != *one) continue;
      const auto& frames = threads[i].frames;
      if (!threads[i].error.empty() ||
          std::any_of(frames.begin(), frames.end(),
                      [](const Frame& frame) { return !frame.error.empty(); })) {
        return true;
      }
    }
    return false;
  }

  InspectedValue value_of(const Request& request) {
    InspectedValue value;
    value.path = request.text;
    if (!request.path) {
      value.error = request.path.error();
      return value;
    }
    const ObjectPath& path = *request.path;
    std::string where;
    if (path.in_frame && path.steps.empty()) {
      if (auto ok = list_frame(path, value); !ok) value.error = ok.error();
      return value;
    }
    auto found = path.in_frame ? from_frame(path, where) : from_modules(path);
    if (!found) {
      value.error = found.error();
      return value;
    }
    value.origin = !found->origin.empty() ? found->origin : where;
    Repr repr;
    if (found->plain) {
      repr = *std::move(found->plain);
    } else {
      value.address = found->object.raw();
      ReprBudget budget = generous_budget();
      const ValueLimits limits = options_.list ? limits_of_a_line() : options_.values;
      ValueDecoder decoder(objects_, limits, budget);
      decoder.set_being_changed(being_changed_);
      const Value decoded = decoder.decode(found->object, found->name);
      doubt_if_half_done(decoder, value);
      repr = render_repr(decoded, reader_.layout().unicode, budget);
      const bool secret = !options_.values.show_secrets &&
                          SecretNames(options_.values.secret_names).matches(found->name);
      if (!secret) {
        value.value = plain(found->object, decoded);
        if (const auto type = objects_.type_of(found->object))
          value.size = length_of(reader_, found->object, **type);
      }
      if (options_.list) list(found->object, value);
    }
    value.type = std::move(repr.type);
    value.repr = std::move(repr.text);
    value.detail = std::move(repr.detail);
    value.truncated = repr.truncated;
    value.unreadable = value.unreadable || !repr.complete;
    return value;
  }

  /// The object in JSON's form. The limits of a line may have cut `decoded` where JSON's form would
  /// go on. Then the object is decoded once more, unless what is there of it has no such form.
  std::optional<PlainValue> plain(RemoteAddr object, const Value& decoded) {
    if (!options_.list || !decoded.truncated) return plain_value(decoded, options_.values);
    if (!may_be_plain(decoded, options_.values)) return std::nullopt;
    ReprBudget budget;
    return plain_value(ValueDecoder(objects_, options_.values, budget).decode(object, ""),
                       options_.values);
  }

  void doubt_if_half_done(ValueDecoder& decoder, InspectedValue& value) {
    if (!decoder.met_one_being_changed()) return;
    half_done_ = true;
    value.half_done = true;
    value.consistent = false;
  }

  static ReprBudget generous_budget() {
    // One value was asked for, and its own limits bound it.
    return {.objects = 4'000'000, .text = std::size_t{256} << 20U};
  }

  Result<FoundObject> from_modules(const ObjectPath& path) {
    return PathResolver(objects_, runtime_.interpreters.front()).from_modules(path);
  }

  void list(RemoteAddr object, InspectedValue& value) {
    const std::size_t most = std::max<std::size_t>(options_.values.max_items, 1);
    const ObjectItems found = list_items(objects_, object, most);
    for (const ObjectItem& item : found.items)
      add_item(item.name, item.key, item.origin, item.object, value);
    value.items_left_out = found.left_out;
  }

  /// Of a value that is one among many.
  [[nodiscard]] ValueLimits limits_of_a_line() const {
    ValueLimits limits = options_.values;
    limits.max_string = std::min<std::size_t>(limits.max_string, 60);
    limits.max_items = std::min<std::size_t>(limits.max_items, 4);
    limits.max_depth = std::min<std::size_t>(limits.max_depth, 1);
    return limits;
  }

  void add_item(const std::string& name, const std::string& key, const std::string& origin,
                RemoteAddr object, InspectedValue& value) {
    const ValueLimits limits = limits_of_a_line();
    ReprWriter writer(objects_, limits, list_budget_);
    writer.decoder().set_being_changed(being_changed_);
    Repr repr = writer.write(object, key);
    doubt_if_half_done(writer.decoder(), value);
    InspectedItem item;
    item.name = name;
    item.origin = origin;
    item.type = std::move(repr.type);
    item.repr = std::move(repr.text);
    item.truncated = repr.truncated;
    value.unreadable = value.unreadable || !repr.complete;
    if (const auto type = objects_.type_of(object)) item.size = length_of(reader_, object, **type);
    value.items.push_back(std::move(item));
  }

  // --- Frames

  /// One thread's frames that a path may begin at: their numbers, 0 for the innermost.
  struct Frames {
    std::size_t thread = 0;  // of the snapshot
    std::vector<std::size_t> frames;
  };

  [[nodiscard]] std::string name_of(const Thread& thread) const {
    const std::string id = thread.tid != 0 ? fmt::to_string(thread.tid) : std::string("ended");
    return thread.name ? fmt::format("{} \"{}\"", id, *thread.name) : id;
  }

  [[nodiscard]] const Code* code_of(std::size_t thread, std::size_t frame) const {
    const auto& code = stacks_.snapshot.threads[thread].frames[frame].code;
    return code && *code < stacks_.snapshot.codes.size() ? &stacks_.snapshot.codes[*code] : nullptr;
  }

  /// The thread's frames of functions: entries from C code are left out.
  [[nodiscard]] std::vector<std::size_t> python_frames(std::size_t thread) const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < stacks_.snapshot.threads[thread].frames.size(); ++i) {
      if (code_of(thread, i) != nullptr) found.push_back(i);
    }
    return found;
  }

  Result<std::size_t> find_thread(const ObjectPath& path) const {
    const auto& threads = stacks_.snapshot.threads;
    std::vector<std::string> names;
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      if (threads[i].name) names.push_back(*threads[i].name);
      const bool main = path.thread.empty() || path.thread == "MainThread";
      const bool wanted =
          main ? threads[i].main
               : threads[i].name == path.thread ||
                     (threads[i].tid != 0 && fmt::to_string(threads[i].tid) == path.thread);
      if (wanted) found.push_back(i);
    }
    if (found.empty()) {
      return fail(ErrorKind::Usage,
                  fmt::format("{}: there is no Python thread {}", path.text, path.thread),
                  nearest_hint(path.thread, names));
    }
    if (found.size() > 1) {
      return fail(ErrorKind::Usage,
                  fmt::format("{}: {} threads have the name {}: say which by its tid", path.text,
                              found.size(), path.thread));
    }
    return found.front();
  }

  Result<Frames> find_frames(const ObjectPath& path) const {
    const bool number =
        !path.frame.empty() && path.frame.find_first_not_of("0123456789") == std::string::npos;
    const auto with_function = [&](std::size_t thread) {
      std::vector<std::size_t> found;
      for (const std::size_t i : python_frames(thread)) {
        const Code& code = *code_of(thread, i);
        if (code.function == path.frame || code.qualified_name == path.frame) found.push_back(i);
      }
      return found;
    };
    if (!path.frame.empty() && !number && path.thread.empty()) {
      // If only one thread runs the function, that thread is meant.
      std::vector<Frames> running;
      std::string names;
      for (std::size_t i = 0; i < stacks_.snapshot.threads.size(); ++i) {
        auto frames = with_function(i);
        if (frames.empty()) continue;
        names += (names.empty() ? "" : ", ") + name_of(stacks_.snapshot.threads[i]);
        running.push_back({i, std::move(frames)});
      }
      if (running.size() == 1) return running.front();
      if (!running.empty()) {
        return fail(ErrorKind::Usage, fmt::format("{}: {} threads run {}: say which: {}", path.text,
                                                  running.size(), path.frame, names));
      }
    }
    const auto thread = find_thread(path);
    if (!thread) return fail(thread.error());
    Frames frames{*thread, python_frames(*thread)};
    const std::string name = name_of(stacks_.snapshot.threads[*thread]);
    if (frames.frames.empty()) {
      return fail(ErrorKind::Usage,
                  fmt::format("{}: thread {} runs no Python code", path.text, name));
    }
    if (number) {
      std::size_t wanted = 0;
      const std::string& text = path.frame;
      const auto end = std::from_chars(text.data(), text.data() + text.size(), wanted);
      if (end.ec != std::errc{} || wanted >= frames.frames.size()) {
        return fail(ErrorKind::Usage, fmt::format("{}: thread {} has {} frames: the innermost is 0",
                                                  path.text, name, frames.frames.size()));
      }
      frames.frames = {frames.frames[wanted]};
    } else if (!path.frame.empty()) {
      std::vector<std::string> functions;
      for (const std::size_t i : frames.frames)
        functions.push_back(code_of(*thread, i)->qualified_name);
      frames.frames = with_function(*thread);
      if (frames.frames.empty()) {
        return fail(ErrorKind::Usage,
                    fmt::format("{}: thread {} doesn't run {}", path.text, name, path.frame),
                    nearest_hint(path.frame, functions));
      }
    }
    return frames;
  }

  [[nodiscard]] std::string place_of(std::size_t thread, std::size_t frame) const {
    const auto numbers = python_frames(thread);
    const auto number = std::find(numbers.begin(), numbers.end(), frame) - numbers.begin();
    return fmt::format("thread {}, frame {}, {}", name_of(stacks_.snapshot.threads[thread]), number,
                       code_of(thread, frame)->qualified_name);
  }

  Result<FoundObject> from_frame(const ObjectPath& path, std::string& where) {
    const auto frames = find_frames(path);
    if (!frames) return fail(frames.error());
    const std::string& name = path.steps.front().text;
    PathResolver resolver(objects_, runtime_.interpreters.front());
    std::vector<std::string> known;
    RemoteAddr globals;
    for (const std::size_t i : frames->frames) {
      const auto found = read_variables(reader_, stacks_.frames[frames->thread][i]);
      if (!found) return fail(path.text, found.error());
      if (!globals) globals = found->globals;
      for (const FrameVariable& variable : found->variables) {
        if (variable.name != name) {
          known.push_back(variable.name);
          continue;
        }
        where = place_of(frames->thread, i);
        return resolver.follow(path, {variable.value, {}, name, {}}, 1);
      }
    }
    const auto global =
        globals ? dict_item(reader_, globals, name) : Result<RemoteAddr>(RemoteAddr{});
    if (global && *global) {
      where = "the globals of " + place_of(frames->thread, frames->frames.front());
      return resolver.follow(path, {*global, {}, name, {}}, 1);
    }
    const std::string place = frames->frames.size() == 1
                                  ? place_of(frames->thread, frames->frames.front())
                                  : "thread " + name_of(stacks_.snapshot.threads[frames->thread]);
    return fail(ErrorKind::Usage,
                fmt::format("{}: {} has no variable '{}'", path.text, place, name),
                nearest_hint(name, known));
  }

  /// Paths that begin at variables of this name, for the first few that there are.
  std::vector<std::string> frames_with(const std::string& name, const std::string& path) {
    constexpr std::size_t kMost = 3;
    std::vector<std::string> places;
    const auto& threads = stacks_.snapshot.threads;
    for (std::size_t t = 0; t < threads.size() && places.size() < kMost; ++t) {
      for (const std::size_t i : python_frames(t)) {
        const auto found = read_variables(reader_, stacks_.frames[t][i]);
        // The names of modules were looked up before.
        if (!found || found->is_namespace) continue;
        const bool has =
            std::any_of(found->variables.begin(), found->variables.end(),
                        [&](const FrameVariable& variable) { return variable.name == name; });
        if (!has) continue;
        const std::string thread = threads[t].name.value_or(fmt::to_string(threads[t].tid));
        places.push_back(fmt::format("{}/{}:{}", thread, code_of(t, i)->qualified_name, path));
        break;
      }
    }
    return places;
  }

  /// All variables of the innermost of the frames.
  Result<void> list_frame(const ObjectPath& path, InspectedValue& value) {
    const auto frames = find_frames(path);
    if (!frames) return fail(frames.error());
    const std::size_t frame = frames->frames.front();
    const auto found = read_variables(reader_, stacks_.frames[frames->thread][frame]);
    if (!found) return fail(path.text, found.error());
    value.origin = place_of(frames->thread, frame);
    for (const FrameVariable& variable : found->variables) {
      if (value.items.size() < options_.values.max_items) {
        add_item(variable.name, variable.name, {}, variable.value, value);
      } else {
        ++value.items_left_out;
      }
    }
    return {};
  }

  Session& session_;
  const InspectOptions& options_;
  const Deadline& deadline_;
  PageCache cache_;
  TextBudget text_budget_;
  Reader reader_;
  ObjectReader objects_;
  ReprBudget list_budget_;
  RawRuntime runtime_;
  LocatedSnapshot stacks_;
  std::unordered_set<std::uint64_t> being_changed_;
  bool half_done_ = false;
  bool stood_still_ = false;
};

std::vector<Request> parse(const std::vector<std::string>& paths, const InspectOptions& options) {
  const bool in_frame = !options.thread.empty() || !options.frame.empty();
  std::vector<Request> requests;
  for (const std::string& text : paths) {
    Request request{text, parse_path(text)};
    if (request.path && in_frame && !request.path->in_frame) {
      request.path->in_frame = true;
      request.path->thread = options.thread;
      request.path->frame = options.frame;
    }
    requests.push_back(std::move(request));
  }
  if (requests.empty()) {
    // Without a path, all names of the module or frame are listed.
    ObjectPath all;
    all.in_frame = in_frame;
    all.thread = options.thread;
    all.frame = options.frame;
    all.text = fmt::format("{}/{}", options.thread, options.frame);
    requests.push_back({"__main__", in_frame ? Result<ObjectPath>(all) : parse_path("__main__")});
    if (in_frame) requests.back().text = all.text;
  }
  return requests;
}

}  // namespace

Result<std::vector<InspectedValue>> read_inspection(Session& session,
                                                    const std::vector<std::string>& paths,
                                                    const InspectOptions& options, bool held) {
  const Deadline deadline = Deadline::after(options.timeout);
  session.begin_reading(deadline);
  session.memory().budget().set_most_kept(kMostKept);
  const std::vector<Request> requests = parse(paths, options);
  constexpr int kMostReadings = 6;
  Result<std::vector<InspectedValue>> last = fail(ErrorKind::Failed, "nothing was read");
  const auto readable = [](const std::vector<InspectedValue>& values) {
    return std::none_of(values.begin(), values.end(),
                        [](const InspectedValue& value) { return value.unreadable; });
  };
  if (!held) {
    std::optional<Reading> reading;
    const bool one_instant = session.read_at_one_instant([&] {
      last = reading.emplace(session, options, deadline).read(requests);
      if (!last) return may_settle(last.error()) ? AtInstant::Contradictory : AtInstant::Settled;
      return !readable(*last) || reading->any_half_done() ? AtInstant::Contradictory
                                                          : AtInstant::Settled;
    });
    if (one_instant) {
      if (last) reading->point_to_frames(requests, *last);
      return last;
    }
    if (last && session.memory().budget().is_spent()) {
      for (InspectedValue& value : *last)
        value.consistent = false;
      return last;
    }
    last = fail(ErrorKind::Failed, "nothing was read");
  }
  const bool moves = session.target().living() != nullptr && !held;
  for (int i = 0; i < kMostReadings; ++i) {
    Reading reading(session, options, deadline);
    auto values = reading.read(requests);
    if (!values) {
      if (!may_settle(values.error()) || i + 1 == kMostReadings || deadline.has_passed())
        return values;
      continue;
    }
    // Memory that can't be read may have been freed a moment ago, and the next reading may succeed.
    bool settled = (held || (!moves && reading.stood_still())) && readable(*values);
    if (!settled && last) {
      settled = true;
      for (std::size_t n = 0; n < values->size(); ++n) {
        InspectedValue& value = (*values)[n];
        value.same_twice = same(value, (*last)[n]);
        // What a process may have changed in between and changed back was perhaps never so.
        value.consistent = value.same_twice && !moves;
        settled = settled && value.same_twice;
      }
    }
    last = std::move(values);
    const bool spent = session.memory().budget().is_spent();
    if (settled || spent || i + 1 == kMostReadings || deadline.has_passed()) {
      reading.point_to_frames(requests, *last);
      break;
    }
    session.log()("a value changed while it was read, reading {}", i + 1);
  }
  return last;
}

}  // namespace pyscope
