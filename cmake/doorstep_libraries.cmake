# Libraries from outside. Which room each belongs to is said in src/<room>/CMakeLists.txt.

find_package(PkgConfig REQUIRED)
pkg_check_modules(uv REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(cjson REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(cares REQUIRED IMPORTED_TARGET libcares)

# LMDB brings a pkg-config file on some systems only
if(CONFIG_DOORSTEP_STORE)
	find_path(LMDB_INCLUDE_DIR lmdb.h REQUIRED)
	find_library(LMDB_LIBRARY lmdb REQUIRED)
	add_library(lmdb INTERFACE)
	target_include_directories(lmdb SYSTEM INTERFACE ${LMDB_INCLUDE_DIR})
	target_link_libraries(lmdb INTERFACE ${LMDB_LIBRARY})
endif()

# mbedtls: our own build first, then the system's
find_path(MBEDTLS_INCLUDE_DIR mbedtls/build_info.h HINTS ${DOORSTEP_DEPS}/include)
if(NOT MBEDTLS_INCLUDE_DIR)
	message(FATAL_ERROR "mbedtls 3.6 or newer is missing: run scripts/setup")
endif()
file(STRINGS ${MBEDTLS_INCLUDE_DIR}/mbedtls/build_info.h MBEDTLS_VERSION
	REGEX "define MBEDTLS_VERSION_STRING ")
string(REGEX REPLACE ".*\"(.*)\".*" "\\1" MBEDTLS_VERSION "${MBEDTLS_VERSION}")
if(MBEDTLS_VERSION VERSION_LESS 3.6.0)
	message(FATAL_ERROR "mbedtls ${MBEDTLS_VERSION} is too old, 3.6.0 is needed: run scripts/setup")
elseif(MBEDTLS_VERSION VERSION_LESS 3.6.7)
	message(WARNING "mbedtls ${MBEDTLS_VERSION} lacks fixes of 3.6.7")
endif()
message(STATUS "mbedtls ${MBEDTLS_VERSION} in ${MBEDTLS_INCLUDE_DIR}")

add_library(mbedtls INTERFACE)
target_include_directories(mbedtls SYSTEM INTERFACE ${MBEDTLS_INCLUDE_DIR})
foreach(part mbedtls mbedx509 mbedcrypto)
	find_library(${part}_LIBRARY ${part} REQUIRED HINTS ${DOORSTEP_DEPS}/lib)
	target_link_libraries(mbedtls INTERFACE ${${part}_LIBRARY})
endforeach()
# then functions of ours may stand in front of some of its own, see src/net/CMakeLists.txt
if(mbedcrypto_LIBRARY MATCHES "\\.a$")
	target_compile_definitions(mbedtls INTERFACE DOORSTEP_MBEDTLS_IS_STATIC)
endif()
