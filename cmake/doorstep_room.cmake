# doorstep_room(NAME SOURCES file... [ROOMS room...] [LIBRARIES target...])
#
# One static library for one room of the source tree. ROOMS are the rooms before
# it, LIBRARIES come from outside and stay private to the room.
function(doorstep_room name)
	cmake_parse_arguments(room "" "" "SOURCES;ROOMS;LIBRARIES" ${ARGN})
	if(NOT room_SOURCES)
		add_library(${name} INTERFACE)
		target_link_libraries(${name} INTERFACE ${room_ROOMS})
		return()
	endif()
	add_library(${name} STATIC ${room_SOURCES})
	target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${doorstep_config_dir})
	target_link_libraries(${name} PUBLIC ${room_ROOMS} PRIVATE doorstep_flags ${room_LIBRARIES})
endfunction()
