#include "execution/script.hpp"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <optional>

namespace pyscope {
namespace {

// Whoever removes the file decides: the wrapper runs the code only if the wrapper did, and pyscope
// says that the code didn't run only if pyscope did. All modules but traceback and linecache are
// there in every Python that has started. posix is the one that nobody patches. By its name,
// debuggers can be told to skip the wrapper.
constexpr std::string_view kWrapper = R"py(__name__ = "pyscope"


def _pyscope(path, name, source, expression, limit):
    import builtins, io, posix, sys
    from _thread import get_ident

    class Sink(io.RawIOBase):
        def __init__(self):
            self.parts, self.size, self.cut = [], 0, False

        def writable(self):
            return True

        def write(self, data):
            data = bytes(data)
            kept = data[:max(limit - self.size, 0)]
            self.parts.append(kept)
            self.size += len(kept)
            self.cut = self.cut or len(kept) < len(data)
            return len(data)

    class Nothing:
        def write(self, text):
            return len(text)

        def flush(self):
            pass

    def text_stream(sink):
        return io.TextIOWrapper(sink, "utf-8", "backslashreplace", newline="", write_through=True)

    def split(own, others):
        state = {"own": own, "others": Nothing() if others is None else others, "thread": get_ident()}

        def chosen():
            return state["own"] if get_ident() == state["thread"] else state["others"]

        class PyscopeStream:
            _pyscope_state = state

            def __getattribute__(self, attribute):
                return getattr(chosen(), attribute)

            def __setattr__(self, attribute, value):
                setattr(chosen(), attribute, value)

            def __iter__(self):
                return iter(chosen())

            def __next__(self):
                return next(chosen())

            def __enter__(self):
                return chosen().__enter__()

            def __exit__(self, *error):
                return chosen().__exit__(*error)

            def __repr__(self):
                return repr(chosen())

        return PyscopeStream(), state

    def restore(name, stream, state, before):
        state["thread"] = None
        if getattr(sys, name, None) is not stream:
            return
        while True:
            ended = type(before).__dict__.get("_pyscope_state")
            if ended is None or ended["thread"] is not None:
                break
            before = ended["before"]
        setattr(sys, name, before)

    def describe(error):
        kind = type(error)
        where = kind.__module__
        type_name = kind.__qualname__ if where == "builtins" else f"{where}.{kind.__qualname__}"
        try:
            message = str(error)
        except BaseException:
            message = "<str() of the exception failed>"
        try:
            import linecache, traceback
            before = linecache.cache.get(name)
            lines = source.decode("utf-8", "replace").splitlines(True)
            linecache.cache[name] = (len(source), None, lines, name)
            try:
                steps = error.__traceback__.tb_next
                text = "".join(traceback.format_exception(kind, error, steps))
            finally:
                linecache.cache.pop(name, None)
                if before is not None:
                    linecache.cache[name] = before
        except BaseException:
            text = f"{type_name}: {message}\n"
        return type_name, message, text

    def run(frame):
        space = {"__name__": "__pyscope__", "__builtins__": builtins, "frame": frame}
        try:
            if not expression:
                exec(compile(source, name, "exec", dont_inherit=True), space)
                return None, None
            text = source.decode("utf-8").strip()
            return repr(eval(compile(text, name, "eval", dont_inherit=True), space)), None
        except BaseException as error:
            return None, describe(error)
        finally:
            space.pop("frame", None)

    def encoded(text):
        return text.encode("utf-8", "surrogatepass")

    def answer(frame):
        sinks = Sink(), Sink()
        before = getattr(sys, "stdout", None), getattr(sys, "stderr", None)
        streams = [split(text_stream(sink), other) for sink, other in zip(sinks, before)]
        for (stream, state), other in zip(streams, before):
            state["before"] = other
        sys.stdout, sys.stderr = streams[0][0], streams[1][0]
        try:
            value, error = run(frame)
        finally:
            restore("stdout", *streams[0], before[0])
            restore("stderr", *streams[1], before[1])
        parts = [b"".join(sinks[0].parts), b"".join(sinks[1].parts)]
        cut = sinks[0].cut or sinks[1].cut
        for text in (value or "", *(error or ("", "", ""))):
            data = encoded(text)
            cut = cut or len(data) > limit
            parts.append(data[:limit])
        head = [int(error is not None), int(cut), *map(len, parts)]
        return b"".join([b"pyscope-answer %d %d %d %d %d %d %d %d\n" % tuple(head), *parts])

    def write(data):
        data = memoryview(data)
        while data:
            data = data[posix.write(file, data):]

    try:
        file = posix.open(path, posix.O_WRONLY | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError:
        return
    try:
        try:
            posix.unlink(path)
        except OSError:
            return
        write(b"pyscope-begun\n")
        try:
            write(answer(sys._getframe(1).f_back))
        except BaseException:
            posix.ftruncate(file, 0)
            posix.lseek(file, 0, 0)
            write(b"pyscope-begun\npyscope-lost\n")
    finally:
        posix.close(file)

)py";

/// A bytes literal of Python.
std::string literal(std::string_view bytes) {
  std::string text = "b\"";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte <= '~' && c != '"' && c != '\\') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text + '"';
}

/// Takes a number off the front, which a space or line end follows.
std::optional<std::size_t> take_length(std::string_view& text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc{} || digits >= text.size()) return std::nullopt;
  text.remove_prefix(digits + 1);
  return number;
}

}  // namespace

std::string script_text(const SourceCode& code, std::string_view path) {
  return fmt::format("{}_pyscope({}, {}.decode(\"utf-8\", \"surrogateescape\"), {}, {}, {})\n",
                     kWrapper, literal(path), literal(code.name), literal(code.source),
                     code.expression ? "True" : "False", kMostOutput);
}

Answer read_answer(std::string_view file, Execution& into) {
  constexpr std::string_view kBegun = "pyscope-begun\n";
  constexpr std::string_view kLost = "pyscope-lost\n";
  constexpr std::string_view kAnswer = "pyscope-answer ";
  if (!file.starts_with(kBegun)) return Answer::None;
  file.remove_prefix(kBegun.size());
  if (file == kLost) return Answer::Lost;
  const std::size_t line = file.find('\n');
  if (!file.starts_with(kAnswer) || line == std::string_view::npos) return Answer::Begun;
  std::string_view head = file.substr(kAnswer.size(), line + 1 - kAnswer.size());
  file.remove_prefix(line + 1);
  std::array<std::size_t, 8> numbers{};
  for (std::size_t& number : numbers) {
    const auto taken = take_length(head);
    if (!taken || *taken > kMostOutput) return Answer::Begun;
    number = *taken;
  }
  std::array<std::string, 6> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t length = numbers.at(i + 2);
    if (length > file.size()) return Answer::Begun;
    parts.at(i) = std::string(file.substr(0, length));
    file.remove_prefix(length);
  }
  const bool raised = numbers[0] != 0;
  into.ran = true;
  into.truncated = numbers[1] != 0;
  into.out = std::move(parts[0]);
  into.err = std::move(parts[1]);
  if (raised) {
    into.exception = RaisedException{std::move(parts[3]), std::move(parts[4]), std::move(parts[5])};
  } else {
    into.repr = std::move(parts[2]);
  }
  return Answer::Complete;
}

}  // namespace pyscope
