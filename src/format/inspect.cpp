// The text and JSON forms of values at paths.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/thousands.hpp"
#include "format/escape.hpp"
#include "format/json_parts.hpp"
#include "format/json_writer.hpp"
#include "format/paint.hpp"
#include "format/value_layout.hpp"
#include "pyscope/render.hpp"

namespace pyscope {
namespace {

/// A plain value as JSON in ASCII: nothing of the value is lost, and no character of it acts on a
/// terminal.
using PlainWriter =
    rapidjson::Writer<rapidjson::StringBuffer, rapidjson::UTF8<>, rapidjson::ASCII<>>;

void write_plain(PlainWriter& writer, const PlainValue& value) {
  const auto size = [](const std::string& text) {
    return static_cast<rapidjson::SizeType>(text.size());
  };
  switch (value.kind) {
    case PlainValue::Kind::Null:
      writer.Null();
      break;
    case PlainValue::Kind::Bool:
      writer.Bool(value.boolean);
      break;
    case PlainValue::Kind::Number:
      writer.RawValue(value.text.data(), value.text.size(), rapidjson::kNumberType);
      break;
    case PlainValue::Kind::String:
      writer.String(value.text.data(), size(value.text));
      break;
    case PlainValue::Kind::Array:
      writer.StartArray();
      for (const PlainValue& item : value.items)
        write_plain(writer, item);
      writer.EndArray();
      break;
    case PlainValue::Kind::Object:
      writer.StartObject();
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        writer.Key(value.names[i].data(), size(value.names[i]));
        write_plain(writer, value.items[i]);
      }
      writer.EndObject();
      break;
  }
}

/// The value as JSON text.
std::string plain_json(const PlainValue& value) {
  rapidjson::StringBuffer buffer;
  PlainWriter writer(buffer);
  write_plain(writer, value);
  // RapidJSON doesn't escape DEL, so DEL is escaped here. Only a string can hold one.
  std::string text;
  for (const char c : std::string_view(buffer.GetString(), buffer.GetSize())) {
    if (c == '\x7f') {
      text += "\\u007f";
    } else {
      text += c;
    }
  }
  return text;
}

std::string_view doubt_of(const InspectedValue& value) {
  return value.half_done ? "half_changed" : value.same_twice ? "same_twice" : "changed";
}

void write_json(JsonWriter& json, pid_t pid, const InspectedValue& value) {
  write_subject(json, kInspectSchema, pid);
  json.text_field("path", value.path);
  if (value.error) return write_error(json, *value.error);
  json.text_unless_empty("type", value.type);
  json.text_unless_empty("repr", value.repr);
  if (!value.detail.empty()) json.text_field("detail", value.detail);
  json.field("size", value.size);
  json.key("value");
  if (value.value) {
    json.raw(plain_json(*value.value));
  } else {
    json.null();
  }
  json.address_field("address", value.address);
  json.text_unless_empty("origin", value.origin);
  json.field("consistent", value.consistent && !value.unreadable);
  if (!value.consistent) json.word_field("doubt", doubt_of(value));
  json.field("truncated", value.truncated);
  if (value.unreadable) json.field("unreadable", true);
  if (value.items.empty() && value.items_left_out == 0) return;
  json.objects_field("items", value.items, [&](const InspectedItem& item) {
    json.text_field("name", item.name);
    json.text_unless_empty("origin", item.origin);
    json.text_unless_empty("type", item.type);
    json.field("size", item.size);
    json.text_field("repr", item.repr);
    json.field("truncated", item.truncated);
  });
  json.field("items_left_out", value.items_left_out);
}

constexpr std::size_t kMostListedColumns = 120;
constexpr std::string_view kAssigned = " = ";

std::string size_text(const InspectedItem& item) {
  return item.size ? fmt::format("{}", *item.size) : std::string{};
}

/// The lines of the items: name, type, size and value, one item below the other.
void append_items(std::string& out, const InspectedValue& value, const Painter& painter) {
  constexpr std::size_t kMostColumns = 32;
  constexpr std::size_t kMostValueColumns = 80;
  std::size_t names = 0;
  std::size_t types = 0;
  std::size_t sizes = 0;
  const auto widen = [](std::size_t& width, std::size_t columns) {
    if (columns <= kMostColumns) width = std::max(width, columns);
  };
  for (const InspectedItem& item : value.items) {
    widen(names, display_width(escape(item.name)));
    widen(types, display_width(escape(item.type)));
    widen(sizes, size_text(item).size());
  }
  const auto pad = [&](std::size_t width, std::size_t columns) {
    out.append((columns < width ? width - columns : 0) + 2, ' ');
  };
  for (const InspectedItem& item : value.items) {
    const std::string name = escape(item.name);
    const std::string type = escape(item.type);
    const std::string size = size_text(item);
    out += "  ";
    painter.append(out, Style::Line, name);
    pad(names, display_width(name));
    painter.append(out, Style::Function, type);
    pad(types, display_width(type));
    if (sizes > 0) {
      out.append(size.size() < sizes ? sizes - size.size() : 0, ' ');
      out += size + "  ";
    }
    out += clip(escape(item.repr), kMostValueColumns);
    if (!item.origin.empty()) {
      painter.append(out, Style::Note, fmt::format("  (of {})", escape(item.origin)));
    }
    out += '\n';
  }
  if (value.items_left_out > 0) {
    out += "  ";
    painter.append(out, Style::Note, fmt::format("… {} more", value.items_left_out));
    out += '\n';
  }
}

}  // namespace

std::string render_text(const InspectedValue& value, const InspectTextOptions& options) {
  std::string out;
  if (value.error) return out;
  const Painter painter(options.color);
  if (!value.repr.empty()) {
    if (options.path) {
      painter.append(out, Style::Line, escape(value.path));
      out += kAssigned;
    }
    // The lines below say more about the items, so the value itself is short here.
    const std::string repr = escape(value.repr);
    if (!value.items.empty()) {
      out += clip(repr, kMostListedColumns);
    } else {
      const std::size_t before =
          options.path ? display_width(escape(value.path)) + kAssigned.size() : 0;
      const std::string lines = lay_out(repr, options.columns, before);
      out += lines;
      const bool large = value.truncated || lines.size() != repr.size();
      if (large && value.size && options.columns > 0) {
        painter.append(
            out, Style::Note,
            fmt::format("  ({} of {})", escape(value.type), with_separators(*value.size)));
      }
    }
    if (!value.detail.empty()) {
      painter.append(out, Style::Note, fmt::format("  ({})", escape(value.detail)));
    }
    if (!value.consistent) {
      painter.append(out, Style::Error,
                     value.half_done    ? "  [may have been half changed at that moment]"
                     : value.same_twice ? "  [read twice with the same result, which is no proof]"
                                        : "  [changed while it was read]");
    }
    if (value.unreadable) painter.append(out, Style::Error, "  [not all of it can be read]");
    out += '\n';
  }
  append_items(out, value, painter);
  return out;
}

std::string render_json(pid_t pid, const InspectedValue& value, JsonStyle style) {
  return json_document(style, [&](JsonWriter& json) { write_json(json, pid, value); });
}

}  // namespace pyscope
