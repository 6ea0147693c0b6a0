#include "values/object_items.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_set>

#include "values/contents.hpp"
#include "values/repr.hpp"

namespace pyscope {
namespace {

bool is_pythons_own(std::string_view name) {
  return name.starts_with("__") && name.ends_with("__");
}

class ItemLister {
 public:
  ItemLister(ObjectReader& objects, std::size_t most)
      : objects_(objects), reader_(objects.reader()), most_(most) {}

  ObjectItems list(RemoteAddr object) {
    const auto described = objects_.type_of(object);
    if (!described) return {};
    const ObjectType type = **described;
    if (type.builtin == "module") {
      const auto dict = objects_.module_dict(object);
      if (dict && *dict) names_of_dict(*dict, {});
    } else if (type.is_class()) {
      const auto itself = objects_.describe_type(object);
      if (itself) names_of_classes((*itself)->mro, object);
    } else {
      contents(object, type);
      for (const auto& [name, value] : objects_.attributes(object, type, kMostAttributes))
        add_name(name, value, {});
      if (!type.exact) names_of_classes(type.mro, {});
    }
    return std::move(found_);
  }

 private:
  // Bound: attributes of an object that are listed
  static constexpr std::size_t kMostAttributes = 65'536;

  void add(ObjectItem item) {
    if (found_.items.size() < most_) {
      found_.items.push_back(std::move(item));
    } else {
      ++found_.left_out;
    }
  }

  void add_name(const std::string& name, RemoteAddr value, const std::string& origin) {
    if (is_pythons_own(name) || !seen_.insert(name).second) return;
    add({name, origin, name, value});
  }

  void names_of_dict(RemoteAddr dict, const std::string& origin) {
    const auto names = read_dict_prefix(reader_, dict, kMostAttributes);
    if (!names) return;
    for (const auto& [key, value] : names->items)
      add_name(objects_.name_of(key), value, origin);
  }

  void names_of_classes(const std::vector<RemoteAddr>& classes, RemoteAddr itself) {
    for (const RemoteAddr at : classes) {
      const auto type = objects_.describe_type(at);
      if (!type || (*type)->exact) continue;
      const std::string origin = at == itself ? std::string{} : "class " + (*type)->label();
      const RemoteAddr dict = objects_.class_dict(at);
      if (dict) names_of_dict(dict, origin);
    }
  }

  /// What a builtin container holds, as far as a path leads there.
  void contents(RemoteAddr object, const ObjectType& type) {
    const ContainerKind kind = container_kind(type);
    if (kind == ContainerKind::Dict || kind == ContainerKind::OrderedDict) {
      entries(object, kind);
    } else if (kind == ContainerKind::List || kind == ContainerKind::Tuple) {
      const auto items = read_sequence_prefix(reader_, object, kind, most_);
      if (!items) return;
      for (std::size_t i = 0; i < items->items.size(); ++i)
        add({fmt::format("[{}]", i), {}, {}, items->items[i]});
      found_.left_out += items->count - items->items.size();
    }
  }

  void entries(RemoteAddr dict, ContainerKind kind) {
    const auto prefix = read_entries(reader_, dict, kind, most_);
    if (!prefix) return;
    ValueLimits limits;
    limits.max_depth = 1;
    ReprBudget budget;
    ReprWriter keys(objects_, limits, budget);
    for (const auto& [key, value] : prefix->items) {
      const auto type = objects_.type_of(key);
      const bool text = type && ((*type)->flags & kTypeUnicodeSubclass) != 0;
      add({"[" + keys.write(key, "").text + "]",
           {},
           type ? text ? objects_.name_of(key) : "" : std::string(kUnreadableName),
           value});
    }
    found_.left_out += prefix->count - prefix->items.size();
  }

  ObjectReader& objects_;
  const Reader& reader_;
  std::size_t most_;
  ObjectItems found_;
  std::unordered_set<std::string> seen_;
};

}  // namespace

ObjectItems list_items(ObjectReader& objects, RemoteAddr object, std::size_t most) {
  return ItemLister(objects, most).list(object);
}

}  // namespace pyscope
