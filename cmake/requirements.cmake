# What ouro needs from the machine, checked before anything is built, with the line that mends it.

set(ouro_install_clang "on Debian 12: apt install clang-19 and use --preset dev")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    message(FATAL_ERROR
        "ouro: g++ ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines: it destroys lambda "
        "temporaries in `co_await f([owned]{...})` twice and frees aggregate temporaries twice. "
        "Use clang >= 16 or g++ >= 13; ${ouro_install_clang}.")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
    message(FATAL_ERROR
        "ouro: clang ${CMAKE_CXX_COMPILER_VERSION} is too old for C++20 coroutines. "
        "Use clang >= 16 or g++ >= 13; ${ouro_install_clang}.")
endif()
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
    message(FATAL_ERROR "ouro: io_uring exists on Linux only, this is ${CMAKE_SYSTEM_NAME}.")
endif()

# Global, so that a project that has ouro in a subfolder can link it.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(PkgConfig)
if(NOT PkgConfig_FOUND)
    message(FATAL_ERROR "ouro: pkg-config not found; on Debian and Ubuntu: apt install pkg-config")
endif()
pkg_check_modules(liburing QUIET IMPORTED_TARGET GLOBAL "liburing>=2.3")
if(NOT liburing_FOUND)
    message(FATAL_ERROR
        "ouro: liburing >= 2.3 not found; on Debian and Ubuntu: apt install liburing-dev")
endif()
find_package(tl-expected QUIET CONFIG)
if(NOT tl-expected_FOUND)
    message(FATAL_ERROR
        "ouro: tl-expected not found; on Debian and Ubuntu: apt install libexpected-dev")
endif()
find_package(Threads REQUIRED)

# ccache, when there is one; the tests' precompiled headers need the two sloppiness words.
find_program(OURO_CCACHE ccache)
if(OURO_CCACHE AND PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${OURO_CCACHE})
endif()
