#include "python/objects.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

namespace pyscope {
namespace {

// The types of a PyMemberDef that are objects.
constexpr std::int32_t kObjectMember = 16;  // Py_T_OBJECT_EX
constexpr std::int32_t kOldObjectMember = 6;

// Bound: bases of a class
constexpr std::size_t kMostBases = 64;

std::string_view last_part(std::string_view name) {
  return name.substr(name.rfind('.') + 1);
}

bool is_c_code(std::uint64_t flags) {
  return (flags & kTypeStaticBuiltin) != 0 || (flags & kTypeHeap) == 0 ||
         (flags & kTypeImmutable) != 0;
}

/// Where in an object of this type the pointer to its dict lies; 0 if there is none. A negative
/// tp_dictoffset counts from the object's end (subclasses of int and tuple, until 3.11).
Result<std::uint64_t> dict_offset(const Reader& reader, RemoteAddr object, RemoteAddr type) {
  constexpr std::int64_t kMost = 1U << 20U;
  constexpr std::uint64_t kWord = sizeof(std::uint64_t);
  const auto offset = reader.field<std::int64_t>(type, Field::TypeTpDictoffset);
  if (!offset) return fail(offset.error());
  if (*offset >= 0) return *offset < kMost ? static_cast<std::uint64_t>(*offset) : 0;
  if (!reader.offsets().has(Field::TypeTpItemsize)) return 0;
  const auto basic_size = reader.field<std::int64_t>(type, Field::TypeTpBasicsize);
  const auto item_size = reader.field<std::int64_t>(type, Field::TypeTpItemsize);
  const auto count = reader.field<std::int64_t>(object, Field::VarObjectObSize);
  if (!basic_size || !item_size || !count) {
    return fail(ErrorKind::Malformed, "an object whose size can't be read");
  }
  if (*basic_size < 0 || *basic_size >= kMost || *item_size < 0 || *item_size >= kMost ||
      *count <= -kMost || *count >= kMost || *offset <= -kMost) {
    return 0;
  }
  const auto items = static_cast<std::uint64_t>(std::abs(*count) * *item_size);
  const std::uint64_t end =
      (static_cast<std::uint64_t>(*basic_size) + items + kWord - 1) / kWord * kWord;
  const auto back = static_cast<std::uint64_t>(-*offset);
  return end > back ? end - back : 0;
}

}  // namespace

Result<DictPrefix> read_instance_items(const Reader& reader, RemoteAddr object, RemoteAddr type,
                                       std::size_t limit) {
  const auto flags = reader.type_flags(type);
  if (!flags) return fail(flags.error());
  if ((*flags & kTypeManagedDict) != 0) {
    const auto storage = instance_storage(reader, object, type, *flags);
    if (!storage) return fail(storage.error());
    if (storage->dict) return read_dict_prefix(reader, storage->dict, limit);
    const auto keys = reader.pointer(type, Field::HeapTypeHtCachedKeys);
    if (!storage->values || !keys || !*keys) return DictPrefix{};
    return read_inline_values(reader, storage->values, *keys, limit);
  }
  const auto offset = dict_offset(reader, object, type);
  if (!offset || *offset == 0) return DictPrefix{};
  const auto dict = reader.pointer(object, *offset);
  if (!dict) return fail(dict.error());
  return *dict ? read_dict_prefix(reader, *dict, limit) : DictPrefix{};
}

Result<const ObjectType*> ObjectReader::type_of(RemoteAddr object) {
  if (!object.is_plausible_pointer()) {
    return fail(ErrorKind::Malformed, fmt::format("{:#x} is not an object", object.raw()));
  }
  const auto type = reader_.type_of(object);
  if (!type) return fail(type.error());
  return describe_type(*type);
}

Result<const ObjectType*> ObjectReader::describe_type(RemoteAddr at) {
  if (!at.is_plausible_pointer()) {
    return fail(ErrorKind::Malformed, fmt::format("{:#x} is not a type", at.raw()));
  }
  if (const auto known = types_.find(at.raw()); known != types_.end()) return &known->second;
  ObjectType type;
  type.at = at;
  // What is a type is told by the type of its type: all metaclasses have this flag.
  const auto metatype = reader_.type_of(at);
  const auto meta_flags =
      metatype && *metatype ? reader_.type_flags(*metatype) : Result<std::uint64_t>(0U);
  if (!meta_flags || (*meta_flags & kTypeSubclass) == 0) {
    return fail(ErrorKind::Malformed, fmt::format("{:#x} is not a type", at.raw()));
  }
  const auto flags = reader_.type_flags(at);
  const auto basic_size = reader_.field<std::uint64_t>(at, Field::TypeTpBasicsize);
  const auto repr = reader_.field<std::uint64_t>(at, Field::TypeTpRepr);
  auto name = reader_.type_name(at);
  if (!flags || !basic_size || !repr || !name) {
    return fail(ErrorKind::Malformed, fmt::format("the type at {:#x} can't be read", at.raw()));
  }
  type.flags = *flags;
  type.basic_size = *basic_size;
  type.repr = RemoteAddr{*repr};
  type.exact = is_c_code(type.flags);
  type.full_name = *name;
  if (!type.exact) {
    // ht_qualname, and the module from the class's own dict.
    const auto qualified = reader_.pointer(at, Field::HeapTypeHtQualname);
    if (qualified && *qualified) {
      if (std::string text = text_of(*qualified); !text.empty()) type.full_name = std::move(text);
    }
    const std::string module = text_of(class_attribute(at, "__module__"));
    type.name = last_part(type.full_name);
    if (!module.empty() && module != "builtins") type.full_name = module + "." + type.full_name;
  } else {
    type.name = last_part(type.full_name);
  }
  read_bases(type);
  return &types_.emplace(at.raw(), std::move(type)).first->second;
}

void ObjectReader::read_bases(ObjectType& type) {
  for (RemoteAddr base = type.at; base && type.bases.size() < kMostBases;) {
    type.bases.push_back(base);
    const auto flags = reader_.type_flags(base);
    if (!flags) break;
    if (type.builtin.empty() && is_c_code(*flags)) {
      type.builtin = reader_.type_name(base).value_or("");
      type.builtin_repr =
          RemoteAddr{reader_.field<std::uint64_t>(base, Field::TypeTpRepr).value_or(0)};
    }
    const auto next = reader_.pointer(base, Field::TypeTpBase);
    if (!next) break;
    base = *next;
  }
  const auto mro = reader_.pointer(type.at, Field::TypeTpMro);
  const auto count = mro && *mro ? reader_.field<std::uint64_t>(*mro, Field::TupleObSize)
                                 : Result<std::uint64_t>(0U);
  if (mro && count && *count > 0 && *count <= kMostBases) {
    std::vector<std::uint64_t> classes(*count);
    if (reader_.memory().read(*mro + reader_.offsets()[Field::TupleObItem],
                              std::as_writable_bytes(std::span{classes}))) {
      for (const std::uint64_t at : classes) {
        if (RemoteAddr{at}.is_plausible_pointer()) type.mro.emplace_back(at);
      }
    }
  }
  if (type.mro.empty() || type.mro.front() != type.at) type.mro = type.bases;
}

RemoteAddr ObjectReader::class_dict(RemoteAddr type) {
  return reader_.pointer(type, Field::TypeTpDict).value_or(RemoteAddr{});
}

RemoteAddr ObjectReader::class_attribute(RemoteAddr type, std::string_view name) {
  const RemoteAddr dict = class_dict(type);
  return dict ? dict_item(reader_, dict, name).value_or(RemoteAddr{}) : RemoteAddr{};
}

Result<RemoteAddr> ObjectReader::module_dict(RemoteAddr module) {
  return reader_.pointer(module, Field::ModuleMdDict);
}

std::vector<NamedObject> ObjectReader::attributes(RemoteAddr object, const ObjectType& type,
                                                  std::size_t most) {
  std::vector<NamedObject> found;
  // Slots: their definitions lie behind the type object.
  for (auto base = type.bases.rbegin(); base != type.bases.rend(); ++base) {
    const auto flags = reader_.type_flags(*base);
    if (!flags || (*flags & kTypeHeap) == 0 || (*flags & kTypeImmutable) != 0) continue;
    const auto metatype = reader_.type_of(*base);
    const auto meta_size = metatype
                               ? reader_.field<std::uint64_t>(*metatype, Field::TypeTpBasicsize)
                               : Result<std::uint64_t>(0U);
    const auto count = reader_.field<std::uint64_t>(*base, Field::VarObjectObSize);
    constexpr std::uint64_t kMostSlots = 256;
    constexpr std::uint64_t kMaxTypeSize = 1U << 16U;
    if (!meta_size || !count || *count > kMostSlots || *meta_size > kMaxTypeSize) continue;
    for (std::uint64_t i = 0; i < *count && found.size() < most; ++i) {
      const RemoteAddr member = *base + *meta_size + i * reader_.offsets()[Field::MemberDefSize];
      const auto name_at = reader_.field<std::uint64_t>(member, Field::MemberDefName);
      const auto kind = reader_.field<std::int32_t>(member, Field::MemberDefType);
      const auto offset = reader_.field<std::uint64_t>(member, Field::MemberDefOffset);
      if (!name_at || !kind || !offset || (*kind != kObjectMember && *kind != kOldObjectMember) ||
          *offset > type.basic_size) {
        continue;
      }
      const auto value = reader_.pointer(object, *offset);
      if (!value || !*value) continue;
      found.emplace_back(
          reader_.c_string(RemoteAddr{*name_at}).value_or(std::string(kUnreadableName)), *value);
    }
  }
  const auto dict = read_instance_items(reader_, object, type.at, most);
  if (dict) {
    for (const auto& [key, value] : dict->items) {
      if (found.size() >= most) break;
      found.emplace_back(name_of(key), value);
    }
  }
  return found;
}

RemoteAddr ObjectReader::attribute(RemoteAddr object, const ObjectType& type,
                                   std::string_view name) {
  constexpr std::size_t kMost = 65'536;
  const auto all = attributes(object, type, kMost);
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const NamedObject& known) { return known.first == name; });
  return found == all.end() ? RemoteAddr{} : found->second;
}

RemoteAddr ObjectReader::member(RemoteAddr object, const ObjectType& type, std::string_view name) {
  constexpr std::uint64_t kMostMembers = 64;
  // An attribute of the C structure that is behind a function only because it may be set.
  if (name == "args" && (type.flags & kTypeExceptionSubclass) != 0) {
    return reader_.pointer(object, Field::ExceptionArgs).value_or(RemoteAddr{});
  }
  for (const RemoteAddr base : type.mro) {
    const auto members = reader_.field<std::uint64_t>(base, Field::TypeTpMembers);
    if (!members || *members == 0) continue;
    for (std::uint64_t i = 0; i < kMostMembers; ++i) {
      const RemoteAddr definition{*members + i * reader_.offsets()[Field::MemberDefSize]};
      const auto name_at = reader_.field<std::uint64_t>(definition, Field::MemberDefName);
      if (!name_at || *name_at == 0) break;
      const auto text = reader_.c_string(RemoteAddr{*name_at});
      if (!text || *text != name) continue;
      const auto kind = reader_.field<std::int32_t>(definition, Field::MemberDefType);
      const auto offset = reader_.field<std::uint64_t>(definition, Field::MemberDefOffset);
      if (!kind || !offset || (*kind != kObjectMember && *kind != kOldObjectMember) ||
          *offset >= type.basic_size) {
        return {};
      }
      return reader_.pointer(object, *offset).value_or(RemoteAddr{});
    }
  }
  return {};
}

std::string ObjectReader::text_of(RemoteAddr str_object) {
  if (!str_object.is_plausible_pointer()) return {};
  constexpr std::size_t kMost = 1024;
  return read_str(reader_, str_object, kMost).value_or(std::string{});
}

std::string ObjectReader::name_of(RemoteAddr str_object) {
  constexpr std::size_t kMost = 1024;
  const auto prefix = read_str_prefix(reader_, str_object, kMost);
  return prefix ? prefix->text() : std::string(kUnreadableName);
}

}  // namespace pyscope
