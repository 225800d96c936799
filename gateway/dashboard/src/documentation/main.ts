/** `/api/docs`: the REST interface by its OpenAPI document. Everything comes from the gateway itself: it works offline. */
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';

import './documentation.css';

SwaggerUI({
  dom_id: '#documentation',
  url: new URL('../openapi.json', document.baseURI).href,
  // Otherwise the document would be sent to a validator on the Internet.
  validatorUrl: null,
  presets: [SwaggerUI.presets.apis],
  layout: 'BaseLayout',
  supportedSubmitMethods: ['get'],
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
