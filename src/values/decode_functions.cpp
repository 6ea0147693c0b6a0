// Modules, classes, functions, methods, generators, coroutines, futures and tasks.
#include <fmt/format.h>

#include <array>
#include <span>

#include "frames/generator.hpp"
#include "python/code.hpp"
#include "values/decoder.hpp"
#include "values/quoting.hpp"

namespace pyscope {
namespace {

Result<ValueNode> module(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  ObjectReader& objects = d.objects();
  const auto dict = objects.module_dict(at);
  if (!dict) return fail(dict.error());
  const auto text_in_dict = [&](std::string_view name) {
    return *dict ? objects.text_of(dict_item(d.reader(), *dict, name).value_or(RemoteAddr{})) : "";
  };
  const UnicodeVersion unicode = d.reader().layout().unicode;
  const std::string name = quoted(text_in_dict("__name__"), unicode);
  std::string where = text_in_dict("__file__");
  const RemoteAddr spec =
      *dict ? dict_item(d.reader(), *dict, "__spec__").value_or(RemoteAddr{}) : RemoteAddr{};
  if (spec) {
    const auto type = objects.type_of(spec);
    if (type && (*type)->name == "ModuleSpec") {
      const std::string origin = objects.text_of(objects.attribute(spec, **type, "origin"));
      if (origin == "built-in" || origin == "frozen") {
        return leaf("<module " + name + " (" + origin + ")>");
      }
      if (!origin.empty()) where = origin;
    }
  }
  return leaf("<module " + name + (where.empty() ? "" : " from " + quoted(where, unicode)) + ">");
}

Result<ValueNode> class_object(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto described = d.objects().describe_type(at);
  if (!described) return fail(described.error());
  return leaf("<class '" + (*described)->full_name + "'>");
}

Result<ValueNode> function(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto name = d.reader().pointer(at, Field::FunctionQualname);
  if (!name) return fail(name.error());
  return leaf("<function " + d.objects().text_of(*name) + " at " + address_text(at) + ">");
}

Result<ValueNode> method(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t depth) {
  const auto called = d.reader().pointer(at, Field::MethodImFunc);
  const auto self = d.reader().pointer(at, Field::MethodImSelf);
  if (!called) return fail(called.error());
  if (!self) return fail(self.error());
  const auto type = d.objects().type_of(*called);
  std::string name = "?";
  if (type && (*type)->builtin == "function") {
    if (const auto name_at = d.reader().pointer(*called, Field::FunctionQualname))
      name = d.objects().text_of(*name_at);
  }
  ValueNode node = between("<bound method " + name + " of ", ">");
  d.add_item(node, *self, depth);
  return node;
}

Result<ValueNode> builtin_function(ValueDecoder& d, RemoteAddr at, const ObjectType&, std::size_t) {
  const auto definition = d.reader().pointer(at, Field::CFunctionMMl);
  const auto self = d.reader().pointer(at, Field::CFunctionMSelf);
  if (!definition) return fail(definition.error());
  if (!self) return fail(self.error());
  const auto name_at = d.reader().field<std::uint64_t>(*definition, Field::MethodDefName);
  if (!name_at) return fail(name_at.error());
  const std::string name = d.reader().c_string(RemoteAddr{*name_at}).value_or("?");
  const auto type = *self ? d.objects().type_of(*self)
                          : Result<const ObjectType*>(fail(ErrorKind::Malformed, "no object"));
  if (!type || (*type)->builtin == "module") return leaf("<built-in function " + name + ">");
  return leaf("<built-in method " + name + " of " + (*type)->label() + " object at " +
              address_text(*self) + ">");
}

std::string generator_state(ValueDecoder& d, RemoteAddr at) {
  const Reader& reader = d.reader();
  const auto generator = read_generator(reader, at);
  if (!generator) return {};
  switch (generator->state) {
    case GeneratorState::NotStarted:
      return "not started";
    case GeneratorState::Running:
      return "running";
    case GeneratorState::Finished:
      return "finished";
    case GeneratorState::Suspended:
      break;
  }
  const auto frame = read_frame(reader.memory(), reader.offsets(), generator->stack.current_frame);
  if (!frame) return "suspended";
  CodeTable codes(reader.memory(), reader.offsets());
  codes.load({frame->executable});
  if (!codes.knows(frame->executable)) return "suspended";
  const auto unit = unit_of(codes, *frame);
  if (!unit) return "suspended";
  const auto line = codes.location(frame->executable, *unit).position.line;
  return line ? fmt::format("suspended at line {}", *line) : "suspended";
}

Result<ValueNode> generator(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                            std::size_t depth) {
  const auto name = d.reader().pointer(at, Field::GenGiQualname);
  if (!name) return fail(name.error());
  if (depth == 0) d.set_detail(generator_state(d, at));
  return leaf("<" + type.name + " object " + d.objects().text_of(*name) + " at " +
              address_text(at) + ">");
}

std::string_view future_state(std::int32_t state) {
  return state == 0 ? "pending" : state == 1 ? "cancelled" : "finished";
}

/// Begins with "<Task at 0x7f0012345678 ". Spaces separate the parts that are added.
ValueNode future_node(const ObjectType& type, RemoteAddr at) {
  ValueNode node = between("<" + type.name + " at " + address_text(at) + " ", ">");
  node.parts->spaced = true;
  return node;
}

Result<ValueNode> task(ValueDecoder& d, RemoteAddr at, const ObjectType& type, std::size_t depth) {
  // The repr() of a task is Python code.
  const auto state = d.reader().field<std::int32_t>(at, Field::TaskState);
  const auto name = d.reader().pointer(at, Field::TaskName);
  const auto coroutine = d.reader().pointer(at, Field::TaskCoro);
  if (!state) return fail(state.error());
  if (!name) return fail(name.error());
  if (!coroutine) return fail(coroutine.error());
  ValueNode node = future_node(type, at);
  // A task that wasn't given a name has a number in its place.
  const auto number = *name ? read_unsigned(d.reader(), *name)
                            : Result<std::uint64_t>(fail(ErrorKind::Malformed, "no name"));
  const auto name_type = d.objects().type_of(*name);
  if (number && name_type && (*name_type)->builtin == "int") {
    append_named(node, "name", leaf(fmt::format("'Task-{}'", *number)));
  } else {
    append_named(node, "name", d.decode_object(*name, depth + 1));
  }
  append(node, leaf(std::string(future_state(*state))));
  if (*coroutine) {
    append_named(node, "coro", d.decode_object(*coroutine, depth + 1));
    if (depth == 0) d.set_detail(generator_state(d, *coroutine));
  }
  return node;
}

Result<ValueNode> future(ValueDecoder& d, RemoteAddr at, const ObjectType& type,
                         std::size_t depth) {
  const auto state = d.reader().field<std::int32_t>(at, Field::FutureState);
  const auto exception = d.reader().pointer(at, Field::FutureException);
  const auto result = d.reader().pointer(at, Field::FutureResult);
  if (!state) return fail(state.error());
  if (!exception) return fail(exception.error());
  if (!result) return fail(result.error());
  ValueNode node = future_node(type, at);
  append(node, leaf(std::string(future_state(*state))));
  constexpr std::int32_t kFinished = 2;
  if (*state == kFinished && *exception) {
    append_named(node, "exception", d.decode_object(*exception, depth + 1));
  } else if (*state == kFinished && *result) {
    append_named(node, "result", d.decode_object(*result, depth + 1));
  }
  return node;
}

}  // namespace

std::span<const TypeDecoder> function_decoders() {
  static constexpr auto kDecoders = std::to_array<TypeDecoder>({
      {"module", module, ""},
      {"type", class_object, ""},
      {"function", function, ""},
      {"method", method, "..."},
      {"builtin_function_or_method", builtin_function, ""},
      {"generator", generator, ""},
      {"coroutine", generator, ""},
      {"async_generator", generator, ""},
      {"_asyncio.Task", task, "..."},
      {"_asyncio.Future", future, "..."},
  });
  return kDecoders;
}

}  // namespace pyscope
