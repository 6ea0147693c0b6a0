// What a C++ extension may do to the stack of a Python thread, for native.py: each function that is
// exported ends in a place where the thread stays.

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

// A call that isn't the last thing of its function can't become a jump.
#define KEEP_FRAME asm volatile("" ::: "memory")

namespace {

[[gnu::noinline]] void wait_for_good() {
  ::poll(nullptr, 0, -1);
  KEEP_FRAME;
}

struct Refusal {
  int depth;
};

[[gnu::noinline]] int throw_from(int depth) {
  // What the stack unwinder has to run on its way.
  std::string cleaned_up(static_cast<std::size_t>(depth) + 100, 'x');
  if (depth == 0) throw Refusal{static_cast<int>(cleaned_up.size())};
  const int result = throw_from(depth - 1);
  KEEP_FRAME;
  return result + static_cast<int>(cleaned_up.size());
}

void wait_in_handler(int) {
  wait_for_good();
  KEEP_FRAME;
}

using Callback = void (*)();

Callback in_handler = nullptr;

void call_in_handler(int) {
  in_handler();
  KEEP_FRAME;
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

void use_stack_for_signals(void* memory, std::size_t size) {
  stack_t stack{};
  stack.ss_sp = memory;
  stack.ss_size = size;
  ::sigaltstack(&stack, nullptr);
}

constexpr std::size_t kStackSize = std::size_t{1} << 20U;

void* make_stack() {
  return ::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// Made when the library is loaded: below it are the stacks of threads that are started later, which
// is the side that CPython's check of the stack's depth doesn't mind.
void* const other_stack = make_stack();
void* const signal_stack = make_stack();

Callback on_other_stack = nullptr;

void begin_other_stack() {
  on_other_stack();
  KEEP_FRAME;
}

void* begin_bare_thread(void* name) {
  ::prctl(PR_SET_NAME, name);
  wait_for_good();
  return nullptr;
}

void* begin_attached_thread(void* callback) {
  reinterpret_cast<Callback>(callback)();
  KEEP_FRAME;
  return nullptr;
}

}  // namespace

namespace shop {

template <class T>
struct Cart {
  [[gnu::noinline]] T wait(T amount) {
    wait_for_good();
    KEEP_FRAME;
    return amount;
  }
};

template struct Cart<double>;

}  // namespace shop

extern "C" {

/// Waits in a function whose name is mangled.
void wait_in_cart() {
  shop::Cart<double>().wait(1.5);
  KEEP_FRAME;
}

/// Waits while it handles an exception that went through `depth` frames.
int catch_and_wait(int depth) {
  try {
    return throw_from(depth);
  } catch (const Refusal& refusal) {
    wait_for_good();
    return refusal.depth;
  }
}

void wait_in_signal_handler() {
  handle(SIGUSR1, wait_in_handler, 0);
  ::pthread_kill(::pthread_self(), SIGUSR1);
  KEEP_FRAME;
}

void wait_on_signal_stack() {
  static void* const memory = make_stack();
  use_stack_for_signals(memory, kStackSize);
  handle(SIGUSR2, wait_in_handler, SA_ONSTACK);
  ::pthread_kill(::pthread_self(), SIGUSR2);
  KEEP_FRAME;
}

/// Python in a signal handler is nothing that a program may do, but the stack is a legal one.
void call_on_signal_stack(Callback callback) {
  use_stack_for_signals(signal_stack, kStackSize);
  in_handler = callback;
  handle(SIGRTMIN + 1, call_in_handler, SA_ONSTACK);
  ::pthread_kill(::pthread_self(), SIGRTMIN + 1);
  KEEP_FRAME;
}

/// As libraries of green threads do it: the callee's stack has no way back to this one.
void call_on_other_stack(Callback callback) {
  on_other_stack = callback;
  static ucontext_t here;
  static ucontext_t there;
  ::getcontext(&there);
  there.uc_stack.ss_sp = other_stack;
  there.uc_stack.ss_size = kStackSize;
  there.uc_link = &here;
  ::makecontext(&there, begin_other_stack, 0);
  ::swapcontext(&here, &there);
  KEEP_FRAME;
}

void start_bare_thread(const char* name) {
  pthread_t thread{};
  ::pthread_create(&thread, nullptr, begin_bare_thread, const_cast<char*>(name));
}

void start_attached_thread(Callback callback) {
  pthread_t thread{};
  ::pthread_create(&thread, nullptr, begin_attached_thread, reinterpret_cast<void*>(callback));
}

// Those that follow keep their threads running.

/// Stays at its first instruction, before it has made a frame of its own.
[[gnu::naked]] void stay_at_first_instruction() {
  asm("1: jmp 1b");
}

void look_at_the_clock() {
  timespec now{};
  for (;;)
    ::clock_gettime(CLOCK_MONOTONIC, &now);
}

void allocate() {
  for (std::size_t size = 1;; size = size * 5 % 100'003) {
    void* const volatile memory = std::malloc(size);
    std::free(memory);
  }
}
}
