"""REST interface ``/api/v1``: a module for each resource, :mod:`gateway.rest.router` joins them."""
