#include "locks/waited_objects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "locks/namespaces.hpp"
#include "python/integers.hpp"

namespace pyscope {
namespace {

std::string describe_queue(const Reader& reader, RemoteAddr queue) {
  const auto size = item_count_of(reader, queue, "queue");
  if (!size) return {};
  const auto most = integer_attribute(reader, queue, "maxsize");
  std::string text = most && *most > 0 ? fmt::format("{} of {}", *size, counted(*most, "item"))
                                       : counted(*size, "item");
  const auto unfinished = integer_attribute(reader, queue, "unfinished_tasks");
  if (unfinished && *unfinished > *size) {
    text += fmt::format(", {} taken and not done yet", *unfinished - *size);
  }
  return text;
}

std::string describe_barrier(const Reader& reader, RemoteAddr barrier) {
  const auto parties = integer_attribute(reader, barrier, "_parties");
  const auto there = integer_attribute(reader, barrier, "_count");
  if (!parties || !there) return {};
  return fmt::format("{} of {} there", *there, counted(*parties, "thread"));
}

std::string describe_semaphore(const Reader& reader, RemoteAddr semaphore) {
  const auto value = integer_attribute(reader, semaphore, "_value");
  const auto most = integer_attribute(reader, semaphore, "_initial_value");
  if (!value) return {};
  return most ? fmt::format("{} of {} free", *value, *most) : fmt::format("{} free", *value);
}

/// sqlalchemy.pool.QueuePool.checkedout()
std::string describe_queue_pool(const Reader& reader, RemoteAddr pool) {
  const RemoteAddr queue = instance_attribute(reader, pool, "_pool");
  const auto size = integer_attribute(reader, queue, "maxsize");
  const auto resting = item_count_of(reader, queue, "queue");
  const auto overflow = integer_attribute(reader, pool, "_overflow");
  const auto most_overflow = integer_attribute(reader, pool, "_max_overflow");
  if (!size || !resting || !overflow || !most_overflow) return {};
  const std::int64_t out = *size - *resting + *overflow;
  if (*most_overflow < 0) return fmt::format("{} checked out", counted(out, "connection"));
  return fmt::format("{} of {} checked out", out, counted(*size + *most_overflow, "connection"));
}

std::string describe_connection_pool(const Reader& reader, RemoteAddr pool) {
  const auto resting = item_count_of(reader, pool, "_pool");
  const auto open = integer_attribute(reader, pool, "_nconns");
  const auto most = integer_attribute(reader, pool, "_max_size");
  if (!resting || !open || !most) return {};
  return fmt::format("{} of {} taken", *open - *resting, counted(*most, "connection"));
}

}  // namespace

std::optional<std::int64_t> integer_attribute(const Reader& reader, RemoteAddr object,
                                              std::string_view name) {
  const RemoteAddr value = instance_attribute(reader, object, name);
  if (!value || c_type_name_of(reader, value) != "int") return std::nullopt;
  const auto number = read_integer(reader, value, 2);
  if (!number || number->digit_count != number->digits.size()) return std::nullopt;
  std::int64_t result = 0;
  for (std::size_t i = number->digits.size(); i-- > 0;)
    result = (result << kBitsPerDigit) + number->digits[i];
  return number->negative ? -result : result;
}

/// The number of items of a deque or list that is an attribute.
std::optional<std::int64_t> item_count_of(const Reader& reader, RemoteAddr object,
                                          std::string_view name) {
  const RemoteAddr items = instance_attribute(reader, object, name);
  const std::string type = c_type_name_of(reader, items);
  if (type != "collections.deque" && type != "list") return std::nullopt;
  const auto size = reader.field<std::int64_t>(items, Field::VarObjectObSize);
  return size && *size >= 0 ? std::optional(*size) : std::nullopt;
}

std::string counted(std::int64_t number, std::string_view one) {
  return fmt::format("{} {}{}", number, one, number == 1 ? "" : "s");
}

std::vector<RemoteAddr> read_deque(const Reader& reader, RemoteAddr deque, std::size_t most) {
  constexpr std::uint64_t kSlotSize = 8;
  std::vector<RemoteAddr> items;
  const auto size = reader.field<std::uint64_t>(deque, Field::VarObjectObSize);
  auto block = reader.pointer(deque, Field::DequeLeftblock);
  auto index = reader.field<std::uint64_t>(deque, Field::DequeLeftindex);
  const std::uint64_t length = reader.offsets()[Field::DequeBlockLength];
  if (!size || !index) return items;
  while (items.size() < std::min<std::uint64_t>(*size, most) && block && *block) {
    if (*index >= length) {
      block = reader.pointer(*block, Field::DequeBlockRightlink);
      index = 0;
      continue;
    }
    const auto item =
        reader.pointer(*block, reader.offsets()[Field::DequeBlockData] + kSlotSize * (*index)++);
    if (!item || !*item) break;
    items.push_back(*item);
  }
  return items;
}

std::string describe_object(const Reader& reader, const FoundLock& found) {
  const std::string_view type = found.type;
  if (type.starts_with("queue.") && type != "queue.SimpleQueue")
    return describe_queue(reader, found.at);
  if (type == "threading.Barrier") return describe_barrier(reader, found.at);
  if (type == "threading.Semaphore" || type == "threading.BoundedSemaphore")
    return describe_semaphore(reader, found.at);
  if (type == "sqlalchemy.pool.QueuePool") return describe_queue_pool(reader, found.at);
  if (type == "psycopg_pool.ConnectionPool") return describe_connection_pool(reader, found.at);
  return {};
}

}  // namespace pyscope
