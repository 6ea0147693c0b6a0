// A program that has Python as a library, by its name:
//
//     embedding LIBRARY ARGUMENT...
#include <dlfcn.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  void* run = library == nullptr ? nullptr : dlsym(library, "Py_BytesMain");
  if (run == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  argv[1] = argv[0];
  return reinterpret_cast<int (*)(int, char**)>(run)(argc - 1, argv + 1);
}
