# The only CMake cleverness: what a layer is, and how all of them are installed as one package.
#
#   ouro_layer(net USES runtime HEADERS tcp.hpp SOURCES tcp.cpp PRIVATE_LINKS ...)
#
# makes ouro::net from <here>/include/ouro/net/tcp.hpp and <here>/src/tcp.cpp. UMBRELLA names a
# header in include/ouro/ itself. USES is public: headers may include those of the layer below.

include(CMakePackageConfigHelpers)

function(ouro_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 layer
        "" "USES;UMBRELLA" "HEADERS;SOURCES;PUBLIC_LINKS;PRIVATE_LINKS")
    if(layer_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "ouro_layer(${name}): do not understand ${layer_UNPARSED_ARGUMENTS}")
    endif()
    list(TRANSFORM layer_HEADERS PREPEND include/ouro/${name}/)
    list(TRANSFORM layer_SOURCES PREPEND src/)
    list(TRANSFORM layer_UMBRELLA PREPEND include/ouro/)
    list(TRANSFORM layer_USES PREPEND ouro::)

    set(target ouro_${name})
    add_library(${target} ${layer_SOURCES})
    add_library(ouro::${name} ALIAS ${target})
    target_sources(${target} PUBLIC
        FILE_SET HEADERS BASE_DIRS include FILES ${layer_HEADERS} ${layer_UMBRELLA})
    target_include_directories(${target} PRIVATE src)
    target_compile_features(${target} PUBLIC cxx_std_20)
    # Reports name places; without the build machine's folder they are short and reproducible.
    target_compile_options(${target} PRIVATE -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)
    # What belongs to a thread is read at every step: without a call. A plugin that holds ouro takes
    # 600 bytes of the room that the C library keeps for such.
    target_compile_options(${target} PRIVATE -ftls-model=initial-exec)
    target_link_libraries(${target}
        PUBLIC ${layer_USES} ${layer_PUBLIC_LINKS}
        PRIVATE ${layer_PRIVATE_LINKS})
    set_target_properties(${target} PROPERTIES
        EXPORT_NAME ${name}
        VERSION ${PROJECT_VERSION}
        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
        POSITION_INDEPENDENT_CODE ON
        VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL})

    install(TARGETS ${target} EXPORT ouro-targets FILE_SET HEADERS)
    set_property(GLOBAL APPEND PROPERTY OURO_LAYERS ${name})
endfunction()

# Installs the layers for find_package(ouro) and for pkg-config.
function(ouro_install_package)
    get_property(layers GLOBAL PROPERTY OURO_LAYERS)
    if(NOT layers)
        return()
    endif()
    set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ouro)
    install(EXPORT ouro-targets NAMESPACE ouro:: DESTINATION ${package_dir})
    configure_package_config_file(cmake/ouro-config.cmake.in ouro-config.cmake
        INSTALL_DESTINATION ${package_dir})
    write_basic_package_version_file(ouro-config-version.cmake COMPATIBILITY SameMinorVersion)
    install(FILES
        ${PROJECT_BINARY_DIR}/ouro-config.cmake
        ${PROJECT_BINARY_DIR}/ouro-config-version.cmake
        DESTINATION ${package_dir})

    # For pkg-config. The linker wants the layers highest first. The simulator is not for programs.
    list(REMOVE_ITEM layers testing)
    list(REVERSE layers)
    list(TRANSFORM layers PREPEND -louro_)
    list(JOIN layers " " OURO_LINK_FLAGS)
    set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
    file(RELATIVE_PATH OURO_UP_TO_PREFIX /prefix/${pkgconfig_dir} /prefix)
    configure_file(cmake/ouro.pc.in ouro.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/ouro.pc DESTINATION ${pkgconfig_dir})
endfunction()
