#include "target/process_target.hpp"

#include <utility>

#include "process/preemption.hpp"
#include "process/rooted_open.hpp"

namespace pyscope {
namespace {

class LivePreemption final : public Preemption {
 public:
  explicit LivePreemption(ThreadPreemption thread) : thread_(std::move(thread)) {}
  [[nodiscard]] Result<bool> during(const std::function<void()>& read) override {
    return thread_.during(read);
  }
  [[nodiscard]] std::int64_t microseconds() const override { return thread_.microseconds(); }

 private:
  ThreadPreemption thread_;
};

}  // namespace

Result<std::unique_ptr<Preemption>> ProcessTarget::preempt(pid_t tid) const {
  return ThreadPreemption::of(process_, tid).map([](ThreadPreemption thread) {
    return std::unique_ptr<Preemption>(std::make_unique<LivePreemption>(std::move(thread)));
  });
}

UniqueFd ProcessTarget::open_source(const std::string& path) const {
  return open_from_working_directory(process_.directory(), path);
}

}  // namespace pyscope
