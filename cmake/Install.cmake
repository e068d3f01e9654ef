# `cmake --install`: the command, the library with its headers, and what find_package(nibble) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
install(TARGETS nibble_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS nibble_lib EXPORT nibbleTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY src/nibble DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(EXPORT nibbleTargets NAMESPACE nibble:: DESTINATION ${package_dir})

configure_package_config_file(cmake/nibbleConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/nibbleConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/nibbleConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/nibbleConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/nibbleConfigVersion.cmake
        DESTINATION ${package_dir})
