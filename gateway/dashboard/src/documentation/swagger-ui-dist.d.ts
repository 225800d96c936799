/** The part of Swagger UI that is used; the package brings no types. */
declare module 'swagger-ui-dist/swagger-ui-es-bundle.js' {
  interface Options {
    readonly dom_id: string;
    readonly url: string;
    readonly validatorUrl: string | null;
    readonly presets: readonly unknown[];
    readonly layout: 'BaseLayout';
    readonly supportedSubmitMethods: readonly string[];
    readonly deepLinking: boolean;
    readonly tryItOutEnabled: boolean;
    readonly displayRequestDuration: boolean;
    readonly defaultModelsExpandDepth: number;
  }

  const SwaggerUI: ((options: Options) => unknown) & { readonly presets: { readonly apis: unknown } };
  export default SwaggerUI;
}
