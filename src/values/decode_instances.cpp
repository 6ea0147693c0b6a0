// Instances of classes that have no decoder of their own, and exceptions.
#include <algorithm>

#include "values/decoder.hpp"

namespace pyscope {

Result<ValueNode> decode_exception(ValueDecoder& d, RemoteAddr object, const ObjectType& type,
                                   std::size_t depth) {
  const auto args = d.reader().pointer(object, Field::ExceptionArgs);
  if (!args) return fail(args.error());
  const auto items = read_sequence_prefix(d.reader(), *args, ContainerKind::Tuple, d.most_items());
  if (!items) return fail(items.error());
  ValueNode node = between(type.name + "(", ")");
  d.add_items(node, *items, depth);
  return node;
}

ValueNode decode_instance(ValueDecoder& d, RemoteAddr object, const ObjectType& type,
                          std::size_t depth) {
  const std::uint64_t most = d.most_items();
  const auto found = d.objects().attributes(object, type, most + 1);
  if (found.empty() && type.shown_by_c() && type.builtin == "object") {
    return leaf("<" + type.full_name + " object at " + address_text(object) + ">");
  }
  ValueNode node = between("<" + type.name + " at " + address_text(object), ">");
  if (found.empty()) return node;
  node.text += " ";
  node.parts->spaced = true;
  // An instance may lead to all other objects, so its attributes count as three levels. Those of
  // the outermost object are shown whatever the limit is.
  constexpr std::size_t kLevels = 3;
  if (depth > 0 && d.too_deep(depth + kLevels - 2)) {
    d.leave_out(node, ValueParts::kSomeLeftOut);
    return node;
  }
  for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), most); ++i)
    d.add_named(node, found[i].first, found[i].second, depth + kLevels - 1);
  if (found.size() > most) d.leave_out(node, ValueParts::kSomeLeftOut);
  return node;
}

}  // namespace pyscope
