#include "locks/namespaces.hpp"

#include <algorithm>

namespace pyscope {

std::string type_name_of(const Reader& reader, RemoteAddr object) {
  if (!object.is_plausible_pointer()) return {};
  const auto type = reader.type_of(object);
  return type && *type ? reader.type_name(*type).value_or("") : std::string{};
}

std::string c_type_name_of(const Reader& reader, RemoteAddr object) {
  if (!object.is_plausible_pointer()) return {};
  const auto type = reader.type_of(object);
  if (!type || !*type) return {};
  const auto flags = reader.type_flags(*type);
  if (!flags || (*flags & (kTypeStaticBuiltin | kTypeImmutable)) == 0) return {};
  return reader.type_name(*type).value_or("");
}

RemoteAddr instance_attribute(const Reader& reader, RemoteAddr object, std::string_view name) {
  if (!object.is_plausible_pointer()) return {};
  return instance_attributes(reader, {object}, name).front();
}

RemoteAddr bound_self(const Reader& reader, RemoteAddr method) {
  const std::string type = c_type_name_of(reader, method);
  if (type == "method") return reader.pointer(method, Field::MethodImSelf).value_or(RemoteAddr{});
  if (type != "builtin_function_or_method") return {};
  return reader.pointer(method, Field::CFunctionMSelf).value_or(RemoteAddr{});
}

void prefetch_instances(const Reader& reader, const std::vector<RemoteAddr>& objects) {
  constexpr std::uint64_t kTypicalInstance = 256;
  const std::uint64_t before = reader.offsets()[Field::PreHeaderSize];
  std::vector<RemoteAddr> starts;
  for (const RemoteAddr object : objects) {
    if (object.raw() > before) starts.emplace_back(object.raw() - before);
  }
  reader.prefetch(starts, before + kTypicalInstance);
}

bool Namespaces::spend(std::size_t items) {
  const bool enough = items <= items_left_;
  items_left_ -= std::min(items, items_left_);
  return enough;
}

std::vector<std::pair<RemoteAddr, RemoteAddr>> Namespaces::attributes(RemoteAddr object) {
  // Bound: attributes of one object that may hold a lock
  constexpr std::size_t kMostAttributes = 1024;
  if (items_left_ == 0) return {};
  const auto type = reader_.type_of(object);
  if (!type || !*type) return {};
  auto found = read_instance_items(reader_, object, *type, kMostAttributes);
  if (!found || !spend(found->items.size() + 1)) return {};
  return std::move(found->items);
}

std::vector<NamedObject> Namespaces::slots(RemoteAddr object) {
  constexpr std::size_t kMostSlots = 256;
  const auto type = objects_.type_of(object);
  if (!type || (*type)->exact || ((*type)->flags & kTypeManagedDict) != 0) return {};
  auto found = objects_.attributes(object, **type, std::min(kMostSlots, items_left_));
  if (!spend(found.size())) return {};
  return found;
}

const Namespaces::Keys& Namespaces::keys_in(RemoteAddr dict) {
  // Bound: names of one namespace
  constexpr std::size_t kMostNames = 4096;
  const auto [known, fresh] = keys_.try_emplace(dict.raw());
  if (fresh) {
    const auto items = read_dict_prefix(reader_, dict, std::min(kMostNames, items_left_));
    if (items && spend(items->items.size())) {
      for (const auto& [key, value] : items->items)
        known->second.emplace(value.raw(), key);
    }
  }
  return known->second;
}

RemoteAddr Namespaces::key_of(RemoteAddr dict, RemoteAddr value) {
  const Keys& keys = keys_in(dict);
  const auto key = keys.find(value.raw());
  return key == keys.end() ? RemoteAddr{} : key->second;
}

const std::vector<RemoteAddr>& Namespaces::modules_in(RemoteAddr globals) {
  // Bound: modules that are looked through for locks
  constexpr std::size_t kMostModules = 32;
  const auto [known, fresh] = modules_.try_emplace(globals.raw());
  if (fresh) {
    for (const auto& [value, key] : keys_in(globals)) {
      if (known->second.size() == kMostModules) break;
      const RemoteAddr module{value};
      if (c_type_name_of(reader_, module) != "module") continue;
      const auto dict = reader_.pointer(module, Field::ModuleMdDict);
      if (dict && *dict) known->second.push_back(*dict);
    }
  }
  return known->second;
}

const std::string& Namespaces::key_text(RemoteAddr key) {
  constexpr std::size_t kMostCharacters = 256;
  const auto [known, fresh] = key_texts_.try_emplace(key.raw());
  if (fresh && key.is_plausible_pointer()) {
    known->second = read_str(reader_, key, kMostCharacters).value_or("");
  }
  return known->second;
}

}  // namespace pyscope
