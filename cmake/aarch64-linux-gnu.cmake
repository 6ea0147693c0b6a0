# Cross-compiles for aarch64 on another Debian machine: scripts/build-aarch64.sh fetches the sysroot.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(PYSCOPE_SYSROOT "$ENV{PYSCOPE_SYSROOT}" CACHE PATH "Folder with Debian's arm64 development packages")
# CMake runs this file again for its own small projects.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PYSCOPE_SYSROOT)

# The compiler brings its own C library; only the other packages come from the sysroot.
set(CMAKE_FIND_ROOT_PATH ${PYSCOPE_SYSROOT})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${PYSCOPE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${PYSCOPE_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${PYSCOPE_SYSROOT})
set(CMAKE_EXE_LINKER_FLAGS_INIT -L${PYSCOPE_SYSROOT}/usr/lib/aarch64-linux-gnu)

# Tests run under qemu-user, where it is there.
find_program(PYSCOPE_QEMU qemu-aarch64-static)
if(PYSCOPE_QEMU)
  # The tests are dynamic, with the compiler's own C library.
  set(CMAKE_CROSSCOMPILING_EMULATOR ${PYSCOPE_QEMU} -L /usr/aarch64-linux-gnu)
endif()
